// Runs before the page is drawn, so that a stored choice of colours does not flash.
(function () {
  "use strict";
  try {
    var chosen = localStorage.getItem("rnnbench-theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch (error) {
    // Storage may be closed to pages opened from files: the system's colours are used.
  }
})();
