"""From a folder of footage to a data set that trains: every stage a plain function, every result a column."""

from kinema.data.reader import Batch, Reader
from kinema.data.recipe import STAGES, DataRecipe, load_recipe
from kinema.data.run import run_recipe
from kinema.data.store import Store

__all__ = ["STAGES", "Batch", "DataRecipe", "Reader", "Store", "load_recipe", "run_recipe"]
