// The worker in which a published copy runs SQL: DuckDB's engine, which reads the atlas file by parts. Its requests end
// here: pages that it reads first came as one (the catalog), others are kept a while; nothing else can be read.
(function () {
  "use strict";
  const PAGE = 16384; // bytes: what the engine reads at least
  const FIRST = 5; // pages of a request: a block of the file, and a page that it shares with the block before
  const MOST = 256; // pages of a request when one follows the other
  const KEPT = 4096; // pages in memory, at most; the engine keeps blocks of its own
  const Request = self.XMLHttpRequest;
  const files = new Map();
  const read = { requests: 0, bytes: 0 };

  async function open({ url, catalog }) {
    const response = await fetch(catalog);
    if (!response.ok) throw new Error(`${catalog}: ${response.status}`);
    const bytes = await new Response(response.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
    const view = new DataView(bytes);
    const numbers = Array.from({ length: view.getUint32(8, true) }, (_, place) => view.getUint32(12 + 4 * place, true));
    const start = 12 + 4 * numbers.length;
    const first = new Map(numbers.map((number, place) => [number, bytes.slice(start + place * PAGE, start + (place + 1) * PAGE)]));
    files.set(url, { url, first, size: view.getFloat64(0, true), pages: new Map(), next: -1, run: FIRST });
  }

  function fetched(file, start, end) {
    const request = new Request();
    request.open("GET", file.url, false);
    request.responseType = "arraybuffer";
    request.setRequestHeader("Range", `bytes=${start}-${Math.min(end, file.size) - 1}`);
    try { request.send(); } catch { throw new Error(`${location.host} does not answer.`); }
    if (request.status === 200) throw new Error(`${location.host} sends no parts of files: it ignores range requests.`);
    if (request.status !== 206) throw new Error(`${location.host} does not send the atlas file: status ${request.status}.`);
    if (!(request.getResponseHeader("Content-Range") || "").endsWith(`/${file.size}`)) throw new Error("The atlas file is another one by now. Load the page again.");
    read.requests += 1;
    read.bytes += request.response.byteLength;
    self.postMessage({ read });
    return request.response;
  }

  // A page; requests that follow each other grow, so that a whole column takes few.
  function page(file, number) {
    const held = (place) => file.first.get(place) || file.pages.get(place);
    if (!held(number)) {
      if (file.pages.size > KEPT) file.pages.clear();
      file.run = number === file.next ? Math.min(Math.ceil(file.run * 1.5), MOST) : FIRST;
      file.next = number + 1;
      while (file.next < number + file.run && !held(file.next)) file.next += 1;
      const bytes = fetched(file, number * PAGE, file.next * PAGE);
      for (let place = number; place < file.next; place += 1) file.pages.set(place, bytes.slice((place - number) * PAGE, (place - number + 1) * PAGE));
    }
    return held(number);
  }

  // The engine reads on where an answer is shorter than what it asked for.
  self.XMLHttpRequest = class {
    open(method, url) { Object.assign(this, { method, url, file: files.get(url) }); }
    setRequestHeader(name, value) { if (name === "Range") this.range = value.match(/\d+/g).map(Number); }
    getResponseHeader(name) { return name === "Content-Length" ? this.file.size : null; }
    send() {
      if (!this.file && !this.url.endsWith(".wal")) throw new Error("Only the atlas file can be read here.");
      this.status = this.file ? 206 : 404;
      if (!this.file || this.method === "HEAD") return;
      const [start, end] = this.range;
      this.response = page(this.file, Math.floor(start / PAGE)).slice(start % PAGE, (start % PAGE) + end - start + 1);
    }
  };

  self.onmessage = async function ({ data: { data } }) {
    try {
      await Promise.all(data.open.map(open));
      importScripts(data.engine); // it takes the messages from here on
      self.postMessage({ type: "STARTED" });
    } catch (error) {
      self.postMessage({ type: "ERROR", data: error });
    }
  };
})();
