// The service worker of a published copy (`atlas publish`): answers for the pages that are packed into archives, which it
// reads by ranges, and for the search box. What it has fetched stays in the browser, so a page seen before opens offline.
// `PUBLISHED`, what static/published.json says, stands before it: browsers take a new one with a new worker.
/* global PUBLISHED */
(function () {
  "use strict";
  const BASE = new URL(".", location.href).pathname.replace(/\/$/, ""); // the copy's folder on this host
  const KEPT = "atlas " + BASE;
  const TYPES = { html: "text/html; charset=utf-8", json: "application/json" };

  class NoRanges extends Error {}

  // --- the host's files, and parts of them
  const opened = () => caches.open(KEPT);

  async function lasting(url) {
    const kept = await (await opened()).match(url);
    if (kept) return kept;
    const response = await fetch(url);
    if (response.ok) (await opened()).put(url, response.clone());
    return response;
  }

  async function fresh(request) {
    const url = new URL(request.url);
    const key = url.origin + url.pathname;
    try {
      // Another mode than the browser's own follows a host that leads from /x to /x/.
      const response = await fetch(url, { cache: "no-cache", headers: { Accept: request.headers.get("Accept") || "*/*" } });
      if (response.ok) (await opened()).put(key, response.clone());
      return response.redirected ? new Response(response.body, { status: response.status, headers: response.headers }) : response;
    } catch (error) {
      const kept = await (await opened()).match(key);
      if (kept) return kept;
      throw error;
    }
  }

  async function part(path, offset, length) {
    const key = `${path}?bytes=${offset}-${length}`;
    const kept = await (await opened()).match(key);
    if (kept) return kept.arrayBuffer();
    const response = await fetch(path, { headers: { Range: `bytes=${offset}-${offset + length - 1}` } });
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    if (response.status !== 206 && Number(response.headers.get("Content-Length")) !== length) {
      response.body.cancel();
      throw new NoRanges();
    }
    const bytes = await response.arrayBuffer();
    (await opened()).put(key, new Response(bytes));
    return bytes;
  }

  function unpacked(bytes) {
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  // --- what is published: each block of the index by its first address, and what pages have in common, by folder
  const starts = new Map();
  async function start(folder) {
    if (!starts.has(folder)) {
      const { blocks, dictionaries } = JSON.parse(await unpacked(await (await lasting(`${folder}/start.bin`)).arrayBuffer()));
      const known = [new Uint8Array(), ...dictionaries.map((text) => new TextEncoder().encode(text))];
      starts.set(folder, { blocks, dictionaries: known });
    }
    return starts.get(folder);
  }

  // A stretch of a page: raw deflate that refers to a dictionary, which goes before it as a block of its own.
  async function stretch(bytes, dictionary) {
    const size = dictionary.length;
    const head = size ? [Uint8Array.of(0, size & 255, size >> 8, ~size & 255, (~size >> 8) & 255), dictionary] : [];
    const inflated = new Blob([...head, bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return (await new Response(inflated).arrayBuffer()).slice(size);
  }

  async function whole(packed, dictionaries) {
    const bytes = new Uint8Array(packed);
    const stretches = [];
    for (let at = 0; at < bytes.length;) {
      const [number, low, middle, high] = bytes.subarray(at, at + 4);
      const end = at + 4 + low + 256 * (middle + 256 * high);
      stretches.push(stretch(bytes.subarray(at + 4, end), dictionaries[number]));
      at = end;
    }
    return new Blob(await Promise.all(stretches)).text();
  }

  async function page(folder, name) {
    const { blocks: all, dictionaries } = await start(folder);
    const at = all.findLastIndex(([first]) => first <= name);
    if (at < 0) return null;
    const lines = (await unpacked(await part(`${folder}/index.bin`, all[at][1], all[at][2]))).split("\n");
    const line = lines.find((text) => text.startsWith(name + " "));
    if (!line) return null;
    const [number, offset, length] = line.slice(name.length + 1).split(" ").map(Number);
    return whole(await part(`${folder}/pages-${String(number).padStart(3, "0")}.bin`, offset, length), dictionaries);
  }

  // --- an atlas's page: /slug, /slug.json, /slug/L1N2, /slug@build/…
  const ADDRESS = /^\/([a-z0-9-]+)(?:@([0-9a-f]{12}))?((?:\/[^?]*)?)$/;
  const NEURON = /^\/l?(\d+)(?:[.:/]|\/?n)(\d+)((?:\/.*)?(?:\.json)?)$/i;

  const OPENS = ["token", "threshold"]; // parameters that only choose what a page opens with: scripts read them
  const missing = (url) => said("Page not found", `Nothing is published at ${url.pathname}.`, 404, `${BASE}/search`, "Search");

  async function ofAtlas(request, url) {
    const path = url.pathname.slice(BASE.length);
    const data = path.endsWith(".json");
    const match = ADDRESS.exec(path.replace(/\.json$/, ""));
    const atlas = match && PUBLISHED.atlases[match[1]];
    if (!atlas) return null;
    const [, slug, pin, rest] = match;
    const { folder, prefix } = atlas.builds[pin || atlas.build] || {};
    const base = `${BASE}/${slug}${pin ? "@" + pin : ""}`;
    if (!folder) {
      return said("Build not published", `Build ${pin} of ${slug} is not in this copy; build ${atlas.build} is.`, 404,
        `${BASE}/${slug}${rest}`);
    }
    if (rest.endsWith("/")) return Response.redirect(base + rest.replace(/\/+$/, "") + url.search, 301);
    const part = /^(\/L\d+N\d+)\/part\/([a-z]+)$/.exec(rest); // a page of its own on a server
    if (part) return Response.redirect(`${base}${part[1]}#${part[2]}`, 302);
    if (rest === "/random") return Response.redirect(base + (await drawn(atlas, slug, folder)), 302);
    const spelt = NEURON.exec(rest);
    const right = spelt && `/L${Number(spelt[1])}N${Number(spelt[2])}${spelt[3]}`;
    if (right && right !== rest) return Response.redirect(base + right + (data ? ".json" : "") + url.search, 301);

    if (rest === "/token" && url.searchParams.get("text")) {
      const token = (await tokens(slug, folder)).find((one) => one[1] === url.searchParams.get("text"));
      if (token) return Response.redirect(`${base}/token/${token[0]}`, 302);
    }
    const name = `/${slug}${rest}${data ? ".json" : ""}`;
    const where = `${BASE}/static/atlases/${slug}/${folder}`;
    let text = url.search ? await page(where, name + url.search) : null;
    if (text === null) {
      text = await page(where, name);
      if (text === null) return missing(url);
      const asked = rest === "/sql" || data ? [] : [...url.searchParams.keys()].filter((name) => !OPENS.includes(name));
      const said = safe(`This copy has no page for “${url.search}”, such as another order or a filter: this is the page without it.`);
      if (asked.length) text = text.replace(/<main[^>]*>/, (main) => `${main}<p class="note" role="status">${said}</p>`);
    }
    if (prefix !== BASE) text = text.replaceAll(`"${prefix}/`, `"${BASE}/`); // made for another folder of a host
    if (pin) text = text.replaceAll(`"${BASE}/${slug}/`, `"${base}/`).replaceAll(`"${BASE}/${slug}"`, `"${base}"`);
    return new Response(text, { headers: { "Content-Type": data ? TYPES.json : TYPES.html } });
  }

  // Some neuron that is published.
  async function drawn(atlas, slug, folder) {
    const first = `/L${Math.floor(Math.random() * atlas.layers)}N${Math.floor(Math.random() * atlas.width)}`;
    const where = `${BASE}/static/atlases/${slug}/${folder}`;
    const all = (await start(where)).blocks;
    const near = Math.max(0, all.findLastIndex(([name]) => name <= `/${slug}${first}`));
    for (let step = 0; step < all.length; step += 1) {
      const block = all[(near + step) % all.length];
      const lines = (await unpacked(await part(`${where}/index.bin`, block[1], block[2]))).split("\n");
      const names = lines.map((line) => line.split(" ")[0].slice(slug.length + 1));
      if (names.includes(first)) return first;
      const neurons = names.filter((name) => /^\/L\d+N\d+$/.test(name));
      if (neurons.length) return neurons[Math.floor(Math.random() * neurons.length)];
    }
    return "";
  }

  const safe = (words) => words.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  function said(title, text, status, link, words = link) {
    const more = link ? `<p><a href="${safe(link)}">${safe(words)}</a></p>` : "";
    const html = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">`
      + `<meta name="viewport" content="width=device-width"><title>${safe(title)}</title>`
      + `<link rel="icon" href="${BASE}/static/icon.svg"><link rel="stylesheet" href="${BASE}/static/atlas.css"><main id="main"><h1>${safe(title)}</h1>`
      + `<p class="lede">${safe(text)}</p>${more}<p><a href="${BASE}/">All atlases</a></p></main></html>`;
    return new Response(html, { status, headers: { "Content-Type": TYPES.html } });
  }

  // --- search: what the site suggests for a name or a token, in its order
  const indices = new Map();
  async function tokens(slug, folder) {
    if (!indices.has(folder)) {
      const bytes = await (await lasting(`${BASE}/static/atlases/${slug}/${folder}/search.bin`)).arrayBuffer();
      indices.set(folder, JSON.parse(await unpacked(bytes)));
    }
    return indices.get(folder);
  }

  const letters = (text) => text.trim().toLowerCase();

  async function suggest(url) {
    const query = url.searchParams.get("q") || "";
    const only = url.searchParams.get("atlas");
    const most = Number(url.searchParams.get("most")) || 10;
    const { atlases } = PUBLISHED;
    const groups = [];
    for (const [slug, atlas] of Object.entries(atlases)) {
      if (query && (!only || only === slug || !atlases[only])) groups.push(await matches(slug, atlas, query, most));
    }
    const kinds = ["layer", "neuron", "exact", "same letters", "prefix"];
    const suggestions = kinds.flatMap((kind) => groups.flatMap((group) => group.filter((item) => item.kind === kind)));
    return Response.json({ query, suggestions: suggestions.slice(0, most) });
  }

  async function matches(slug, atlas, query, most) {
    const items = [];
    const layer = /^\s*l(?:ayer)?\s*(\d{1,9})\s*$/i.exec(query);
    if (layer && Number(layer[1]) < atlas.layers) {
      const name = `L${Number(layer[1])}`;
      items.push({ kind: "layer", label: name, text: name, url: `${BASE}/${slug}/${name}`, detail: `layer, ${atlas.width} neurons` });
    }
    const neuron = /^\s*(?:l(?:ayer)?\s*(\d+)[\s,/]*n(?:euron)?\s*(\d+)|(\d+)[.:/](\d+))\s*$/i.exec(query);
    const [l, n] = neuron ? [neuron[1] ?? neuron[3], neuron[2] ?? neuron[4]].map(Number) : [];
    if (neuron && l < atlas.layers && n < atlas.width) {
      const name = `L${l}N${n}`;
      items.push({ kind: "neuron", label: name, text: name, url: `${BASE}/${slug}/${name}`, detail: "neuron" });
    }
    const quoted = /^\s*(?:"(.+)"|'(.+)'|“(.+)”|‘(.+)’|`(.+)`)\s*$/.exec(query);
    const meant = (quoted ? quoted.slice(1).find((text) => text !== undefined) : query).replaceAll("␣", " ");
    const spellings = quoted || meant.startsWith(" ") ? [meant] : [meant, " " + meant];
    const key = letters(meant);
    const by = { exact: [], "same letters": [], prefix: [] };
    for (const token of await tokens(slug, atlas.builds[atlas.build].folder)) {
      const own = letters(token[1]);
      if (spellings.includes(token[1])) by.exact.push(token);
      else if (key && own === key) by["same letters"].push(token);
      else if (key && own.startsWith(key)) by.prefix.push(token);
    }
    by.exact.sort((one, other) => other[3] - one[3] || one[0] - other[0]);
    for (const [kind, list] of Object.entries(by)) {
      for (const [id, text, shown, count] of list.slice(0, most)) {
        items.push({ kind, label: shown, text, url: `${BASE}/${slug}/token/${id}`, detail: `${count.toLocaleString("en")} in the texts` });
      }
    }
    return items;
  }

  // --- requests
  async function answer(request, url) {
    const path = url.pathname.slice(BASE.length);
    try {
      if (path === "/search/suggest.json") return await suggest(url);
      if (path.startsWith("/static/") && (url.search || /^\/static\/(vega-|duckdb-|atlases\/)/.test(path))) return await lasting(url.href);
      const packed = await ofAtlas(request, url);
      const file = packed || (await fresh(request));
      return !packed && file.status === 404 && request.mode === "navigate" ? missing(url) : file;
    } catch (error) {
      if (error instanceof NoRanges) {
        return said("This host sends no parts of files", `${url.host} ignores range requests: asked for a part of an archive, it`
          + " sends the whole. Pages of neurons and tokens can be read where a host answers them (RFC 9110, status 206).", 502);
      }
      return said("Not to be had", navigator.onLine ? String(error.message) : "You are offline, and this page was not seen before.", 503);
    }
  }

  addEventListener("install", () => skipWaiting());
  addEventListener("activate", (event) => event.waitUntil(clients.claim()));
  addEventListener("fetch", function (event) {
    const url = new URL(event.request.url);
    if (event.request.method === "GET" && url.origin === location.origin && url.pathname !== BASE + "/worker.js"
      && url.pathname.startsWith(BASE + "/") && !event.request.headers.has("Range")) event.respondWith(answer(event.request, url));
  });
})();
