// Runs before the first paint, so that a chosen theme does not flash. Without a choice the style
// sheet follows the system.
(() => {
  try {
    const chosen = localStorage.getItem("doorito.theme");
    if (chosen === "light" || chosen === "dark") {
      document.documentElement.dataset.theme = chosen;
    }
  } catch {
    // Storage is switched off: use the system's theme.
  }
})();
