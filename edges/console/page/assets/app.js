// What pages do beyond what they do without a script. No page needs it.
(function () {
  'use strict';
  var root = document.documentElement;
  var when = new Intl.DateTimeFormat(undefined, { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' });
  var zone = new Intl.DateTimeFormat(undefined, { timeZoneName: 'short' }).formatToParts(new Date()).filter(function (p) { return p.type === 'timeZoneName'; })[0].value;

  // each calls f with every element below (and with) part that fits, once.
  function each(part, selector, f) {
    var found = Array.prototype.slice.call(part.querySelectorAll(selector));
    if (part.matches && part.matches(selector)) found.push(part);
    found.forEach(function (e) {
      if (!e.dataset) return;
      var done = 'done' + f.name;
      if (e.dataset[done]) return;
      e.dataset[done] = '1';
      f(e);
    });
  }

  function localTime(e) {
    var at = new Date(e.getAttribute('datetime'));
    if (isNaN(at)) return;
    e.title = e.textContent + ' (' + ago(at) + ' when this was loaded)';
    e.textContent = when.format(at);
  }

  function ago(at) {
    var s = (at - Date.now()) / 1000, f = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
    var units = [['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]];
    for (var i = 0; i < units.length; i++) if (Math.abs(s) >= units[i][1]) return f.format(Math.round(s / units[i][1]), units[i][0]);
    return 'now';
  }

  // A field of a time shows the reader's own, and sends UTC.
  function localField(e) {
    if (e.value) {
      var at = new Date(e.value + 'Z');
      e.value = new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
    }
    var unit = e.parentElement.querySelector('.zone');
    if (unit) unit.textContent = zone;
    if (e.form && !e.readOnly) e.form.addEventListener('formdata', function (event) {
      var at = new Date(e.value);
      if (e.value && !isNaN(at)) event.formData.set(e.name, at.toISOString().slice(0, 16));
    });
  }

  // A slider and the number that it stands beside say the same.
  function slider(e) {
    var field = document.getElementById(e.dataset.of);
    if (!field) return;
    e.hidden = field.readOnly;
    e.addEventListener('input', function () { field.value = e.value; });
    field.addEventListener('input', function () { e.value = field.value || 0; });
  }

  function copyButton(e) {
    if (!navigator.clipboard) return;
    e.hidden = false;
    e.addEventListener('click', function () {
      navigator.clipboard.writeText(e.dataset.copy).then(function () {
        e.textContent = 'Copied';
        setTimeout(function () { e.textContent = 'Copy'; }, 2000);
      });
    });
  }

  // A second press while the first is under way would do a thing twice.
  function sendOnce(e) {
    e.addEventListener('submit', function (event) {
      if (e.dataset.sent) { event.preventDefault(); return; }
      if (e.method === 'get' || e.hasAttribute('data-download')) return;
      e.dataset.sent = '1';
      each(e, 'button[type=submit]', function busy(b) { b.setAttribute('aria-busy', 'true'); });
    });
  }

  function drawChart(e) {
    if (!window.uPlot) return;
    var c = JSON.parse(e.dataset.chart);
    var ink = resolved('--dim'), grid = resolved('--line');
    var tones = { '': '--busy', good: '--good', warn: '--warn', bad: '--bad', busy: '--busy' }, spare = ['--busy', '--good', '--warn', '--bad', '--dim'];
    function resolved(name) { // light-dark() must become a color that a canvas knows
      var probe = document.createElement('i');
      probe.style.color = 'var(' + name + ')';
      document.body.appendChild(probe);
      var color = getComputedStyle(probe).color;
      probe.remove();
      return color;
    }
    var series = [{ value: function (u, v) { return v == null ? '–' : (c.Days ? new Date(v * 1000).toISOString().slice(0, 10) : when.format(new Date(v * 1000))); } }];
    c.Lines.forEach(function (l, i) {
      var color = resolved(l.Tone ? tones[l.Tone] : spare[i % spare.length]);
      var s = { label: l.Name, stroke: color, width: 2, value: function (u, v) { return v == null ? '–' : v + (c.Unit ? ' ' + c.Unit : ''); } };
      if (c.Bars) { s.paths = uPlot.paths.bars({ size: [0.7, 60] }); s.fill = color; s.points = { show: false }; }
      series.push(s);
    });
    var axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
    var plot = new uPlot({
      width: e.clientWidth || 600, height: 220, series: series, axes: [axis, Object.assign({ size: 60 }, axis)],
      scales: { y: { range: function (u, min, max) { return [Math.min(0, min), max > 0 ? max * 1.1 : 1]; } } },
      tzDate: c.Days ? function (ts) { return uPlot.tzDate(new Date(ts * 1000), 'Etc/UTC'); } : undefined
    }, [c.At].concat(c.Lines.map(function (l) { return l.Values; })), e);
    new ResizeObserver(function () { if (e.clientWidth) plot.setSize({ width: e.clientWidth, height: 220 }); }).observe(e);
  }

  function liveState(e) {
    var lost = e.querySelector('.lost');
    e.addEventListener('htmx:sseError', function () { if (lost) lost.hidden = false; });
    e.addEventListener('htmx:sseOpen', function () { if (lost) lost.hidden = true; });
  }

  function dress(part) {
    each(part, 'time[datetime]', localTime);
    each(part, 'input[data-utc]', localField);
    each(part, 'input[type=range][data-of]', slider);
    each(part, 'button.copy', copyButton);
    each(part, 'form', sendOnce);
    each(part, '.plot[data-chart]', drawChart);
    each(part, '.live', liveState);
  }

  function menuButton() {
    var button = document.querySelector('button.menu'), nav = document.getElementById('nav');
    if (!button || !nav) return;
    var narrow = window.matchMedia('(max-width: 60rem)');
    function show() { button.hidden = !narrow.matches; }
    narrow.addEventListener('change', show);
    show();
    button.addEventListener('click', function () {
      button.setAttribute('aria-expanded', String(nav.classList.toggle('open')));
    });
  }

  function themeButton() {
    var button = document.querySelector('button.theme');
    if (!button) return;
    var names = { '': 'Theme: system', light: 'Theme: light', dark: 'Theme: dark' };
    function say() { button.textContent = names[root.dataset.theme || '']; }
    button.hidden = false;
    say();
    button.addEventListener('click', function () {
      var next = { '': 'light', light: 'dark', dark: '' }[root.dataset.theme || ''];
      if (next) root.dataset.theme = next; else delete root.dataset.theme;
      try { if (next) localStorage.setItem('theme', next); else localStorage.removeItem('theme'); } catch (e) { /* not kept, then */ }
      say();
    });
  }

  // A page that comes back out of the browser's memory may be sent again.
  window.addEventListener('pageshow', function () {
    document.querySelectorAll('form[data-sent]').forEach(function (f) { delete f.dataset.sent; });
  });
  document.addEventListener('htmx:load', function (event) { dress(event.detail.elt); });
  dress(document);
  menuButton();
  themeButton();
  var first = document.querySelector('[aria-invalid=true]');
  if (first) first.focus();
})();
