// What the harness asks of a document, run in a world of its own: the page's scripts and
// its Content-Security-Policy neither see it nor stand in its way.
globalThis.postrider ??= (() => {
  // changes counts what could make a verb find something that it did not find before.
  let changes = 0;
  let waiting = [];
  const changed = () => {
    changes++;
    const woken = waiting;
    waiting = [];
    woken.forEach(f => f());
  };
  new MutationObserver(changed).observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
  for (const name of ['input', 'change', 'toggle', 'close', 'focusin', 'focusout', 'transitionend', 'animationend']) {
    addEventListener(name, changed, {capture: true, passive: true});
  }

  // leaves counts the forms that are sent as documents: their navigation begins in a later task.
  let leaves = 0;
  addEventListener('submit', event => {
    const form = event.target;
    const of = name => event.submitter?.getAttribute('form' + name) ?? form.getAttribute(name) ?? '';
    if (!event.defaultPrevented && of('method').toLowerCase() !== 'dialog' && ['', '_self'].includes(of('target'))) leaves++;
  });

  const words = text => (text ?? '').replace(/\s+/g, ' ').trim();
  const fold = text => words(text).toLowerCase();
  const shown = element => element.checkVisibility({visibilityProperty: true});
  const textOf = root => words((root.body ?? root).innerText);

  return {
    // state is asked after what an action has queued has run.
    state: () => new Promise(resolve => setTimeout(resolve)).then(() => ({
      changes, leaves,
      // htmx marks by these classes what it asks for, swaps and settles.
      quiet: document.readyState === 'complete' && !document.querySelector('.htmx-request, .htmx-swapping, .htmx-settling, .htmx-added'),
    })),
    later: since => new Promise(resolve => { if (changes > since) resolve(); else waiting.push(resolve); }),

    text: textOf,
    // Letters are folded, because a style sheet may show them as capitals.
    sees: (root, text) => fold(textOf(root)).includes(fold(text)),
    headings: () => [...document.querySelectorAll('h1')].filter(shown).map(e => words(e.innerText)),

    // rows are the innermost ones that show the text.
    rows: (root, text) => {
      const all = [...root.querySelectorAll('tr, [role=row], li, [role=listitem], article, dl > div')]
        .filter(e => shown(e) && fold(e.innerText).includes(fold(text)));
      return all.filter(e => !all.some(other => other !== e && e.contains(other)));
    },
    // labelled are the controls that show the text, for those whose accessible name says more.
    labelled: (root, text) => [...root.querySelectorAll('a[href], button, summary, [role=button], [role=link], [role=menuitem], [role=tab]')]
      .filter(e => shown(e) && fold(e.innerText) === fold(text)),

    // fileFields are those whose label shows the text; Chromium names a file field after its file.
    fileFields: (root, text) => [...root.querySelectorAll('input[type=file]')].filter(e => [...e.labels].some(l => shown(l) && fold(l.innerText) === fold(text))),

    // kind says how a field is filled.
    kind: e => {
      const type = (e.getAttribute('type') ?? '').toLowerCase();
      if (e instanceof HTMLSelectElement) return 'select';
      if (e instanceof HTMLInputElement && ['checkbox', 'radio'].includes(type)) return 'check';
      if (e instanceof HTMLInputElement && type === 'file') return 'file';
      if (e instanceof HTMLInputElement && ['date', 'time', 'datetime-local', 'month', 'week', 'color', 'range'].includes(type)) return 'value';
      if (e instanceof HTMLInputElement && ['submit', 'button', 'reset', 'image', 'hidden'].includes(type)) return 'button';
      if (e instanceof HTMLInputElement || e instanceof HTMLTextAreaElement || e.isContentEditable) return 'text';
      if (e.matches('fieldset, [role=group], [role=radiogroup]')) return 'group';
      return '';
    },
    shown,
    disabled: e => e.matches(':disabled') || e.getAttribute('aria-disabled') === 'true',
    checked: e => e.checked ?? e.getAttribute('aria-checked') === 'true',
    value: e => e.value ?? words(e.innerText),
    href: e => e.href ?? '',

    // spot is where a pointer meets the element, and what lies above it there.
    spot: element => {
      // A field whose box is drawn by its label is met there.
      const seen = element.getClientRects().length && getComputedStyle(element).opacity !== '0' ? element : element.labels?.[0] ?? element;
      seen.scrollIntoView({block: 'center', inline: 'nearest', behavior: 'instant'});
      const box = [...seen.getClientRects()].find(r => r.width && r.height);
      if (!box) return {x: 0, y: 0, over: 'nothing is drawn of it'};
      const x = box.left + box.width / 2, y = box.top + box.height / 2;
      const top = document.elementFromPoint(x, y);
      const meets = top && (seen.contains(top) || top.contains(seen) && top.closest('label, button, a, summary') || element.labels && [...element.labels].some(l => l.contains(top)));
      const over = meets ? '' : top ? 'covered by <' + top.localName + '> "' + words(top.innerText).slice(0, 60) + '"' : 'outside the window';
      return {x, y, over};
    },
    select: e => { e.focus(); e.select?.(); },
    blur: e => e.blur(),
    // set fills what takes no typing.
    set: (e, value) => {
      e.focus();
      e.value = value;
      e.dispatchEvent(new Event('input', {bubbles: true}));
      e.dispatchEvent(new Event('change', {bubbles: true}));
      return e.value;
    },
    choose: (e, text) => {
      const option = [...e.options].find(o => !o.disabled && fold(o.label) === fold(text));
      if (!option) return [...e.options].map(o => words(o.label));
      if (option.selected && !e.multiple) return null;
      e.focus();
      option.selected = true;
      e.dispatchEvent(new Event('input', {bubbles: true}));
      e.dispatchEvent(new Event('change', {bubbles: true}));
      return null;
    },
    // invalid are the fields for which the browser does not send a form, and what it says of them.
    invalid: () => [...document.querySelectorAll(':invalid:not(form, fieldset)')].map(e => words(e.labels?.[0]?.innerText || e.name) + ': ' + e.validationMessage),

    links: () => [...new Set([...document.querySelectorAll('a[href], area[href]')].map(e => e.href))],
    // lost are the links to places of this document that it does not have.
    lost: () => [...new Set([...document.querySelectorAll('a[href*="#"]')]
      .filter(e => e.href.split('#')[0] === location.href.split('#')[0] && e.hash.length > 1 && !document.getElementById(decodeURIComponent(e.hash.slice(1))))
      .map(e => e.getAttribute('href')))],
    form: () => ({lang: document.documentElement.lang, title: words(document.title), headings: [...document.querySelectorAll('h1')].map(e => words(e.innerText))}),
    // content is what a reader must find without scripts as well: headings, links, columns and labels.
    content: () => [...new Set([...(document.querySelector('main') ?? document.body).querySelectorAll('h1, h2, h3, h4, a[href], th, label, legend')]
      .filter(shown).map(e => words(e.innerText)).filter(text => text))],
    // wide are what reaches beyond the width, but for what lies in a box that scrolls.
    wide: width => {
      if (document.documentElement.scrollWidth <= width) return null;
      const scrolls = e => { for (let p = e.parentElement; p && p !== document.body; p = p.parentElement) if (getComputedStyle(p).overflowX !== 'visible') return true; return false; };
      const out = [...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > width + 0.5 && !scrolls(e));
      return out.filter(e => !out.some(other => other !== e && e.contains(other)))
        .map(e => '<' + e.localName + '> "' + words(e.innerText).slice(0, 60) + '" reaches to ' + Math.round(e.getBoundingClientRect().right));
    },
    height: () => document.documentElement.scrollHeight,
    // painted is the first contentful paint in milliseconds after the navigation began.
    painted: () => new Promise(resolve => new PerformanceObserver((list, observer) => {
      const entry = list.getEntries().find(e => e.name === 'first-contentful-paint');
      if (entry) { observer.disconnect(); resolve(entry.startTime); }
    }).observe({type: 'paint', buffered: true})),
    axe: () => axe.run(document, {resultTypes: ['violations'], preload: false}).then(result => result.violations.map(v => ({
      rule: v.id, impact: v.impact, help: v.help, places: v.nodes.map(n => n.target.join(' ') + (n.any[0] ? ': ' + n.any[0].message : '')),
    }))),
  };
})();
