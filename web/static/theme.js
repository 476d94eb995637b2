// Light or dark as the reader last chose, before anything is drawn; the system's setting until they choose.
(function () {
  "use strict";
  let chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch { /* no storage here: the system's setting it is */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  document.documentElement.classList.add("scripted");
})();
