"""What marks prove, and what they do not, in the words that every answer ends with."""

NO_PROOF = (
    "That a mark is missing proves nothing: every one of them can be taken off. "
    "Only a trusted signature ties a file to whoever holds the key."
)
