// Runs before the page is drawn, so that a chosen theme does not flicker.
(function () {
  var root = document.documentElement, kept = null;
  root.classList.add('scripted');
  try { kept = localStorage.getItem('theme'); } catch (e) { /* not allowed to keep anything */ }
  if (kept === 'light' || kept === 'dark') root.dataset.theme = kept;
})();
