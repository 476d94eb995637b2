// Lists of neurons. A button beside every neuron's name puts it into one's own list, which this browser keeps, one an
// atlas; the header leads to its page. There notes and title are edited in place: the address follows, and holds it all.
(function () {
  "use strict";
  const MOST = 300; // neurons of a list
  const LONGEST = 7800; // characters of an address that servers take
  const NEURON = /^\/([a-z0-9-]+)(?:@[^/]+)?\/(L[0-9]+N[0-9]+)$/;

  // --- one's own lists: {title, entries: [[name, note], …]} by slug
  const memory = {}; // where the browser keeps nothing
  let full = false; // whether a neuron found no room
  function own(slug) {
    try {
      const list = JSON.parse(localStorage.getItem("list:" + slug)) || memory[slug];
      if (list && Array.isArray(list.entries)) return list;
    } catch { /* not readable: as if there were none */ }
    return memory[slug] || { title: "", entries: [] };
  }
  function keep(slug, list) {
    full = false;
    try { localStorage.setItem("list:" + slug, JSON.stringify(list)); } catch { memory[slug] = list; }
    show();
  }
  function has(list, name) {
    return list.entries.some((entry) => entry[0] === name);
  }
  function same(one, other) {
    return one.title === other.title && JSON.stringify(one.entries) === JSON.stringify(other.entries);
  }
  function address(base, list) {
    const parts = list.entries.map(([name, note]) => "n=" + encodeURIComponent(note ? name + "~" + note : name));
    if (list.title) parts.push("title=" + encodeURIComponent(list.title));
    return base + (parts.length ? "?" + parts.join("&") : "");
  }
  function fits(list) {
    return list.entries.length <= MOST && address("/", list).length <= LONGEST;
  }
  function toggle(slug, name) {
    const list = own(slug);
    const entries = has(list, name) ? list.entries.filter((entry) => entry[0] !== name) : [...list.entries, [name, ""]];
    const next = { title: list.title, entries };
    if (fits(next)) keep(slug, next);
    else full = true;
    show();
  }

  // --- the header's link, and the buttons
  function show() {
    document.querySelectorAll("a[data-list]").forEach(function (link) {
      const list = own(link.dataset.list);
      link.hidden = list.entries.length === 0;
      link.textContent = "list (" + list.entries.length + (full ? ", full" : "") + ")";
      link.href = address(link.pathname, list);
    });
    const lists = {};
    document.querySelectorAll("button[data-add]").forEach(function (button) {
      const [slug, name] = button.dataset.add.split("/");
      const inside = has((lists[slug] ??= own(slug)), name);
      if (button.getAttribute("aria-pressed") === String(inside)) return;
      button.setAttribute("aria-pressed", String(inside));
      button.title = inside ? "In your list: take it out" : "Add to your list";
      button.textContent = button.classList.contains("add") ? (inside ? "✓" : "+") : inside ? "✓ In your list" : "Add to list";
    });
  }
  function adder(slug, name, small) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.add = slug + "/" + name;
    if (small) {
      button.className = "add";
      button.tabIndex = -1; // the key + does it from the link
      button.setAttribute("aria-label", name + " in your list");
    }
    return button;
  }
  function target(link) {
    return link && link.matches("a.unit[href]") ? NEURON.exec(link.pathname) : null;
  }
  function decorate(root) {
    root.querySelectorAll(":is(td, li, dd) a.unit[href]").forEach(function (link) {
      const match = target(link);
      if (match && !link.closest(".listed, .problem") && !link.nextElementSibling?.matches("button.add")) link.after(adder(match[1], match[2], true));
    });
  }
  const canonical = document.querySelector("link[rel=canonical]");
  const here = canonical ? NEURON.exec(new URL(canonical.href).pathname) : null;
  const title = document.querySelector("main h1");
  if (here && title) {
    const place = document.querySelector(".handing");
    const button = adder(here[1], here[2], false);
    if (place) place.append(button);
    else title.after(button);
  }
  decorate(document.querySelector("main"));
  show();
  document.addEventListener("loaded", function (event) {
    decorate(event.detail);
    show();
  });
  window.addEventListener("storage", show);
  window.addEventListener("pageshow", show); // back from another page, which may have changed it
  document.addEventListener("click", function (event) {
    const button = event.target.closest("button[data-add]");
    if (button) toggle(...button.dataset.add.split("/"));
  });
  document.addEventListener("keydown", function (event) {
    const typing = event.target.closest("input, select, textarea, [contenteditable]");
    if (event.key !== "+" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const match = target(document.activeElement) || here;
    if (match) toggle(match[1], match[2]);
  });

  // --- the page of a list
  const data = document.getElementById("list");
  if (data) {
    const slug = data.dataset.slug;
    const read = JSON.parse(data.textContent);
    const list = { title: read.title, entries: read.entries.map((entry) => [entry.name, entry.note]) };
    const rows = document.querySelector("ol.listed");
    const heading = document.getElementById("list-title");
    let mine = same(list, own(slug));
    const status = document.createElement("p");
    status.className = "note";
    status.setAttribute("role", "status");
    const controls = document.getElementById("list-tools");
    controls.parentElement.after(status);

    function control(label, does) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.addEventListener("click", () => does(button));
      controls.append(button);
      return button;
    }

    // The address follows the list; the parts of the page that hold it come from the server.
    let asked = 0;
    function changed() {
      const url = address(data.dataset.base, list);
      if (url.length > LONGEST) {
        status.textContent = "The notes are too long for an address by " + (url.length - LONGEST) + " characters: shorten some.";
        return;
      }
      status.textContent = "";
      history.replaceState(null, "", url);
      if (mine) keep(slug, list);
      const mark = (asked += 1);
      fetch(url)
        .then((response) => (response.ok ? response.text() : Promise.reject(new Error(response.statusText))))
        .then(function (text) {
          if (mark !== asked) return; // changed again meanwhile
          const other = new DOMParser().parseFromString(text, "text/html");
          document.title = other.title;
          document.querySelectorAll("[data-fresh], footer.site").forEach(function (part) {
            const now = part.id ? other.getElementById(part.id) : other.querySelector("footer.site");
            if (!now) return;
            part.replaceWith(document.adoptNode(now));
            document.dispatchEvent(new CustomEvent("loaded", { detail: now }));
          });
        })
        .catch(() => (status.textContent = "The page’s links could not be brought up to date; reload it."));
    }

    function field(tag, value, label, most) {
      const input = document.createElement(tag);
      input.value = value;
      input.maxLength = most;
      input.setAttribute("aria-label", label);
      return input;
    }
    function editNote(row, entry) {
      const note = row.querySelector(".said");
      const input = field("textarea", entry[1], "Note on " + entry[0], Number(data.dataset.note));
      input.rows = 1;
      input.placeholder = "a note";
      input.addEventListener("change", function () {
        entry[1] = input.value.replace(/[\r\n\t]+/g, " ").trim();
        note.textContent = entry[1];
        changed();
      });
      const drop = document.createElement("button");
      drop.type = "button";
      drop.className = "drop";
      drop.textContent = "Remove";
      drop.setAttribute("aria-label", "Remove " + entry[0]);
      drop.addEventListener("click", function () {
        list.entries = list.entries.filter((other) => other !== entry);
        row.remove();
        changed();
      });
      note.hidden = true;
      note.after(input, drop);
    }
    function edit(button) {
      const editing = rows.classList.toggle("editing");
      button.textContent = editing ? "Done" : "Edit";
      if (editing) {
        list.entries.forEach((entry) => editNote(document.getElementById(entry[0]), entry));
        const input = field("input", list.title, "Title of the list", Number(data.dataset.title));
        input.className = "list-title";
        input.placeholder = "Title";
        input.addEventListener("change", function () {
          list.title = input.value.trim();
          changed();
        });
        heading.replaceChildren(input);
      } else {
        rows.querySelectorAll("textarea, .drop").forEach((part) => part.remove());
        rows.querySelectorAll(".said").forEach((note) => (note.hidden = note.textContent === ""));
        heading.textContent = list.title || "List of " + list.entries.length + " neuron" + (list.entries.length === 1 ? "" : "s");
      }
    }

    if (list.entries.length) {
      control("Edit", edit);
      if (navigator.clipboard) {
        control("Copy link", function (button) {
          navigator.clipboard.writeText(location.href).then(function () {
            button.textContent = "Copied";
            setTimeout(() => (button.textContent = "Copy link"), 1500);
          });
        });
      }
      if (mine) {
        control("Start a new list", function () {
          keep(slug, { title: "", entries: [] });
          location.assign(data.dataset.base);
        });
      } else {
        control("Add all to your list", function (button) {
          const ownList = own(slug);
          const more = list.entries.filter((entry) => !has(ownList, entry[0]));
          const joined = (n) => ({ title: ownList.title || list.title, entries: [...ownList.entries, ...more.slice(0, n)] });
          let n = more.length;
          while (n > 0 && !fits(joined(n))) n -= 1;
          const taken = more.slice(0, n);
          keep(slug, joined(n));
          button.disabled = true;
          status.textContent = taken.length + " added" + (taken.length < more.length ? "; your list is full." : ".");
        });
      }
    }
  }
})();
