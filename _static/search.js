// The search: a dialog over the index that _ext/book_search.py wrote. Fetched when it is first opened.

"use strict";

// == Words: as in book_search.py ============================================================

const STOP = new Set(
  ("a an and are as at be but by for from has have if in into is it its no not of on or so such than that the " +
    "their then there these they this to was we were what when which will with you your").split(" "),
);

function stem(word) {
  if (word.length > 4 && word.endsWith("ies")) word = `${word.slice(0, -3)}y`;
  else if (word.length > 3 && word.endsWith("s") && !/(ss|us|is)$/.test(word)) word = word.slice(0, -1);
  for (const ending of ["ing", "ed", "ly"]) {
    if (word.endsWith(ending) && word.length - ending.length > 3) {
      word = word.slice(0, -ending.length);
      if (word.length > 4 && word.at(-1) === word.at(-2) && !/[ls]$/.test(word)) word = word.slice(0, -1);
      break;
    }
  }
  return word.length > 4 && word.endsWith("e") ? word.slice(0, -1) : word;
}

const plain = (text) => text.toLowerCase().normalize("NFKD").replace(/\p{M}/gu, "").replace(/['’]s\b/g, "");
const words = (text) => (plain(text).match(/[a-z0-9]+/g) ?? []).filter((word) => !STOP.has(word)).map(stem);

// == Pieces: scripts, since pages read from a disk may load nothing else ======================

const folder = new URL("../search/", document.currentScript?.src ?? location.href);
const pieces = new Map();
const arrived = new Map();

globalThis.bookSearch = (name, content) => arrived.get(name)?.(content);

function piece(name) {
  if (!pieces.has(name)) {
    const coming = new Promise((resolve, reject) => {
      arrived.set(name, resolve);
      const script = document.createElement("script");
      script.src = new URL(`${name}.js`, folder);
      script.onerror = () => {
        pieces.delete(name); // the next question may try again
        reject(new Error(`${name} did not come`));
      };
      document.head.append(script);
    });
    pieces.set(name, coming);
  }
  return pieces.get(name);
}

// == Finding =================================================================================

// The pieces that hold words from `word` on: where it would stand, and the next if it may go on there.
function holders(firsts, word, isBeginning) {
  let at = firsts.findLastIndex((first) => first <= word);
  if (at < 0) at = 0;
  const next = isBeginning && firsts[at + 1]?.startsWith(word) ? [at + 1] : [];
  return [at, ...next];
}

// For each section that has some of the words: its mark. A section that has all of them counts most.
async function find(question, [, start, end]) {
  const { firsts } = await piece("index");
  const asked = [...new Set(words(question))];
  const unfinished = /[\p{L}\p{N}]$/u.test(question);
  const marks = new Map();
  const matched = new Set();
  await Promise.all(
    asked.map(async (word, number) => {
      const isBeginning = unfinished && number === asked.length - 1 && word.length > 1;
      const best = new Map();
      for (const content of await Promise.all(
        holders(firsts, word, isBeginning).map((at) => piece(`w${at}`)),
      )) {
        for (const [held, pairs] of Object.entries(content)) {
          if (held !== word && !(isBeginning && held.startsWith(word))) continue;
          matched.add(held);
          let section = 0;
          for (let i = 0; i < pairs.length; i += 2) {
            section += pairs[i];
            if (section < start || section >= end) continue;
            const mark = pairs[i + 1] * (held === word ? 1 : 0.6);
            best.set(section, Math.max(best.get(section) ?? 0, mark));
          }
        }
      }
      for (const [section, mark] of best) {
        const sum = marks.get(section) ?? { mark: 0, hits: 0 };
        marks.set(section, { mark: sum.mark + mark, hits: sum.hits + 1 });
      }
    }),
  );
  const rank = ({ mark, hits }) => mark * (hits / asked.length) ** 2;
  const found = [...marks].sort((a, b) => rank(b[1]) - rank(a[1]) || a[0] - b[0]);
  return { found: found.map(([section]) => section), matched };
}

// The thirty words with most of those that were asked for, cut at spaces.
function excerpt(make, text, matched) {
  const parts = text.split(/(?<=\s)/);
  const hit = parts.map((part) => words(part).some((word) => matched.has(word)));
  const size = 30;
  let best = 0;
  let most = -1;
  let now = 0;
  for (let i = 0; i < parts.length; i++) {
    now += hit[i] - (i >= size ? hit[i - size] : 0);
    if (now > most) {
      most = now;
      best = Math.max(0, i - size + 1);
    }
  }
  if (best) best = Math.min(best + 8, hit.indexOf(true, best)); // some words before the first hit
  best = Math.max(0, best - 4);
  const line = make("p");
  if (best) line.append("… ");
  for (let i = best; i < Math.min(parts.length, best + size); i++) {
    line.append(hit[i] ? make("mark", {}, parts[i].trimEnd()) : parts[i]);
    if (hit[i] && /\s$/.test(parts[i])) line.append(" ");
  }
  if (best + size < parts.length) line.append("…");
  return line;
}

// == The dialog ==============================================================================

const AT_ONCE = 6;
let dialog;
let turn = 0;

function build({ make, closeFromOutside }, scopes, root) {
  const name = "Search the library";
  const input = make("input", { type: "search", placeholder: name, "aria-label": name, autocomplete: "off" });
  input.spellcheck = false;
  const select = make("select", { "aria-label": "Where to search" });
  scopes.forEach(([label], number) => select.append(make("option", { value: number }, label)));
  const close = make("button", { type: "button" }, "Close");
  const status = make("p", { class: "search-status", role: "status" });
  const list = make("ol", { class: "search-results" });
  dialog = make("dialog", { id: "book-search", "aria-label": "Search" });
  dialog.append(make("div", { class: "search-head" }, input, select, close), status, list);

  async function show(found, matched, from, now) {
    const { group } = await piece("index");
    const next = found.slice(from, from + AT_ONCE);
    const texts = await Promise.all(
      next.map(async (section) => (await piece(`s${Math.floor(section / group)}`))[section % group]),
    );
    if (now !== turn) return;
    let page;
    for (const [address, title, heading, place, text] of texts) {
      const link = make("a", { href: new URL(address, root) }, heading);
      if (page?.title !== title) {
        page = { title, item: make("li") };
        page.item.append(make("span", { class: "search-page" }, title));
        if (place) page.item.append(" ", make("span", { class: "search-place" }, place));
        list.append(page.item);
      }
      page.item.append(make("div", {}, link, excerpt(make, text, matched)));
    }
    if (found.length > from + AT_ONCE) {
      const more = make("button", { type: "button", class: "search-more" }, "More");
      const last = make("li", {}, more);
      more.addEventListener("click", async () => {
        const before = list.querySelectorAll("a").length;
        last.remove();
        await show(found, matched, from + AT_ONCE, now);
        list.querySelectorAll("a")[before]?.focus();
      });
      list.append(last);
    }
  }

  async function ask() {
    const now = ++turn;
    const question = input.value.trim();
    if (!words(question).length) {
      list.replaceChildren();
      status.textContent = "";
      return;
    }
    try {
      const { found, matched } = await find(question, scopes[select.value]);
      if (now !== turn) return;
      const count = found.length;
      status.textContent = count ? `${count} section${count === 1 ? "" : "s"}` : "Nothing found.";
      list.replaceChildren();
      await show(found, matched, 0, now);
    } catch {
      status.textContent = "The index could not be fetched. Try again when you are online.";
    }
  }

  let waiting;
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(ask, 120);
  });
  select.addEventListener("change", ask);
  close.addEventListener("click", () => dialog.close());
  // Down and up go through what was found, from the question and back to it; Enter opens the first.
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target === input) list.querySelector("a")?.click();
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.target === select) return;
    const stops = [input, ...list.querySelectorAll("a")];
    const next = stops[stops.indexOf(document.activeElement) + step];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  });
  list.addEventListener("click", (event) => {
    if (event.target.closest("a")) dialog.close();
  });
  closeFromOutside(dialog);
  document.body.append(dialog);
}

globalThis.openBookSearch = async (helpers) => {
  if (!dialog) {
    const { scopes } = await piece("index");
    if (!dialog) build(helpers, scopes, helpers.root);
  }
  if (!dialog.open) dialog.showModal();
  dialog.querySelector("input").select();
};
