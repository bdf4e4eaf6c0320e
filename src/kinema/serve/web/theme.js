// Runs before the page is drawn, so that it never flashes in the wrong colours.
try {
  document.documentElement.dataset.theme = localStorage.getItem("kinema.theme") || "auto";
} catch {
  document.documentElement.dataset.theme = "auto";
}
