// For other sites: L31N892 in their text becomes a link to the neuron, with a card beside it on hover or focus.
//
//   <script src="https://HOST/static/autolink.js" data-atlas="SLUG" defer></script>   links the whole page
//   <p data-atlas="https://HOST/SLUG">…</p>                                            links what is in it
//   <p data-atlas="none">…</p>                                                         links nothing in it
//   <pre data-atlas="SLUG" data-atlas-code>…</pre>                                     code too
//
// neuronAtlas.scan(element) links what came later. Nothing is loaded until a link is pointed at; without the host the
// links are still links. No style or script is written into the page, so that its content security policy needs no
// more than this host in script-src, connect-src and frame-src.
(function () {
  "use strict";
  const script = document.currentScript;
  const home = new URL(script.src).origin;
  const NAME = /\bL[0-9]{1,4}N[0-9]{1,7}\b/g;
  const SKIPPED = "a, button, input, textarea, select, option, script, style, noscript, template, iframe, svg, math, [contenteditable]";
  const CODE = "code, pre, kbd, samp, tt";
  const DELAY = 250; // ms: a pointer that only passes by opens nothing
  const WIDTH = 520;
  const HEIGHT = 390;

  // --- links
  // The address of the atlas that an element's nearest data-atlas names; null where there is none.
  function atlasOf(element) {
    const place = element.closest("[data-atlas]");
    const named = (place || script).getAttribute("data-atlas");
    if (!named || named === "none") return null;
    try {
      const address = new URL(named, home + "/");
      return address.protocol.startsWith("http") ? address.href.replace(/\/$/, "") : null;
    } catch {
      return null; // no address: nothing to link to
    }
  }

  function skipped(element) {
    if (element.closest(SKIPPED)) return true;
    const code = element.closest(CODE);
    return code !== null && !code.closest("[data-atlas-code]") && !script.hasAttribute("data-atlas-code");
  }

  function scan(root) {
    const walker = document.createTreeWalker(root || document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
      const node = walker.currentNode;
      if (node.data.search(NAME) >= 0 && node.parentElement && !skipped(node.parentElement)) found.push(node);
    }
    found.forEach(function (node) {
      const atlas = atlasOf(node.parentElement);
      if (atlas) link(node, atlas);
    });
  }

  function link(node, atlas) {
    const parts = document.createDocumentFragment();
    let end = 0;
    for (const match of node.data.matchAll(NAME)) {
      const a = document.createElement("a");
      a.href = atlas + "/" + match[0];
      a.textContent = match[0];
      a.className = "neuron-atlas";
      parts.append(node.data.slice(end, match.index), a);
      end = match.index + match[0].length;
      a.addEventListener("pointerenter", (event) => event.pointerType !== "touch" && soon(() => open(a, atlas)));
      a.addEventListener("pointerleave", () => soon(leave));
      a.addEventListener("focus", () => open(a, atlas));
      a.addEventListener("blur", () => soon(leave));
    }
    parts.append(node.data.slice(end));
    node.replaceWith(parts);
  }

  // --- the card: one at a time
  let card = null;
  let timer = 0;
  function soon(what) {
    clearTimeout(timer);
    timer = setTimeout(what, DELAY);
  }

  function close() {
    clearTimeout(timer);
    if (!card) return;
    card.link.removeAttribute("aria-describedby");
    card.host.remove();
    card = null;
  }

  // Pointed at, the card stays: one may follow its links.
  function leave() {
    if (!card || !card.host.matches(":hover")) close();
  }

  // What the page around a link looks like, by the colour of its text: light text is on dark ground.
  function scheme(a) {
    const parts = getComputedStyle(a.parentElement).color.match(/^rgba?\((\d+), (\d+), (\d+)/);
    if (!parts) return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    return 0.299 * parts[1] + 0.587 * parts[2] + 0.114 * parts[3] > 128 ? "dark" : "light";
  }

  // The best tokens of a neuron, in words: what is said to those who do not see the card.
  const said = new Map();
  function describe(a, atlas) {
    if (!said.has(a.href)) {
      const at = new URL(atlas);
      const api = at.origin + "/api/v1/atlases" + at.pathname + "/neurons/" + a.textContent + "/tokens?direction=top";
      const answer = fetch(api)
        .then((response) => (response.ok ? response.json() : Promise.reject(new Error(response.statusText))))
        .then((found) => a.textContent + " writes " + found.data.slice(0, 8).map((row) => row.token.shown).join("  "));
      answer.catch(() => said.delete(a.href)); // asked again next time
      said.set(a.href, answer);
    }
    return said.get(a.href);
  }

  function open(a, atlas) {
    clearTimeout(timer);
    if (card && card.link === a) return;
    close();
    const host = document.createElement("div");
    const opened = (card = { link: a, host });
    describe(a, atlas).then(
      function (text) {
        if (card === opened) show(a, host, text, scheme(a), atlas);
      },
      function () {
        if (card === opened) card = null; // no host, no such neuron: the link is all there is
      },
    );
  }

  function show(a, host, text, theme, atlas) {
    const line = document.createElement("span");
    line.id = "neuron-atlas-card";
    line.setAttribute("role", "tooltip");
    line.textContent = text;
    host.append(line);
    const shadow = host.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(
      ":host { all: initial; position: absolute; z-index: 2147483647; box-sizing: border-box; overflow: hidden;" +
        " background: Canvas; color: CanvasText; border: 1px solid GrayText; border-radius: 6px;" +
        " box-shadow: 0 4px 16px rgb(0 0 0 / .25); font: 14px/1.4 system-ui, sans-serif; }" +
        " p { margin: 0; padding: 10px 14px; overflow-wrap: anywhere; }" +
        " iframe { display: block; width: 100%; border: 0; } [hidden] { display: none; }",
    );
    shadow.adoptedStyleSheets = [sheet];
    const words = document.createElement("p");
    words.append(document.createElement("slot"));
    shadow.append(words);
    host.style.colorScheme = theme;
    host.addEventListener("pointerenter", () => clearTimeout(timer));
    host.addEventListener("pointerleave", () => soon(leave));
    a.setAttribute("aria-describedby", line.id);

    // Below the link if there is room, else above; within the window's width.
    const at = a.getBoundingClientRect();
    const width = Math.min(WIDTH, document.documentElement.clientWidth - 16);
    const height = Math.min(width < WIDTH ? 1.3 * HEIGHT : HEIGHT, innerHeight - 16);
    const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - 8 - width));
    host.style.width = width + "px";
    host.style.left = left + scrollX + "px";
    if (at.bottom + height + 8 <= innerHeight || at.top < height + 8) {
      host.style.top = at.bottom + 6 + scrollY + "px";
    } else {
      // From the foot of the page's first screen, which is what `bottom` counts from.
      host.style.top = at.top - 6 - height + scrollY + "px";
    }
    document.body.append(host);

    // The words stay until the picture is there, and for good where the page's policy does not let it in.
    const frame = document.createElement("iframe");
    const { origin, pathname } = new URL(atlas);
    frame.src = origin + "/embed" + pathname + "/" + a.textContent + "?theme=" + theme;
    frame.title = a.textContent + " in the Neuron Atlas";
    frame.setAttribute("sandbox", "allow-popups allow-popups-to-escape-sandbox");
    frame.tabIndex = -1;
    frame.hidden = true;
    frame.height = height - 2;
    frame.addEventListener("load", function () {
      frame.hidden = false;
      words.hidden = true;
    });
    shadow.append(frame);
  }

  document.addEventListener("keydown", (event) => event.key === "Escape" && close());
  window.neuronAtlas = { scan };
  scan();
})();
