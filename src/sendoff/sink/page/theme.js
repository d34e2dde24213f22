// The theme, set before anything is drawn so that no page flashes in the wrong one.
// A choice made here is kept in localStorage; without one the system's preference holds.
"use strict";

(() => {
  const key = "sendoff-theme";
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function stored() {
    try {
      return localStorage.getItem(key);
    } catch {
      return null; // storage is forbidden: the system's preference is all there is
    }
  }

  function apply() {
    const chosen = stored();
    root.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
  }

  dark.addEventListener("change", apply);
  apply();

  window.toggleTheme = () => {
    const next = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(key, next);
    } catch {
      // as above; the choice then holds for this page only
    }
    root.dataset.theme = next;
    document.dispatchEvent(new Event("themechange"));
    return next;
  };
})();
