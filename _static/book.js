// What a page does beyond being read: light and dark, the sidebars, copying code, opening solutions,
// the reader's place in the contents, and the way to the search. It stands in for the theme's own
// scripts, of which a page would use a tenth. Without it everything can be read.

"use strict";

const root = document.documentElement;
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

// -- Light and dark --------------------------------------------------------------------------

const dark = matchMedia("(prefers-color-scheme: dark)");

function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // A browser that keeps nothing shows the system's mode on the next page.
  }
}

function setMode(mode) {
  const theme = mode === "auto" ? (dark.matches ? "dark" : "light") : mode;
  root.dataset.mode = mode;
  root.dataset.theme = theme;
  remember("mode", mode);
  remember("theme", theme);
  for (const choice of all(".theme-change-button")) {
    choice.classList.toggle("active", choice.dataset.mode === mode);
    choice.setAttribute("aria-pressed", choice.dataset.mode === mode);
  }
}

function setUpModes() {
  setMode(root.dataset.mode || "auto");
  dark.addEventListener("change", () => setMode(root.dataset.mode));
  for (const choice of all(".theme-change-button")) {
    choice.addEventListener("click", () => setMode(choice.dataset.mode));
  }
  for (const button of all(".theme-switch-button")) {
    const menu = button.nextElementSibling;
    const open = (state) => {
      menu.classList.toggle("show", state);
      menu.dataset.bsPopper = "static"; // the theme's style sheet places it by this
      button.setAttribute("aria-expanded", state);
    };
    open(false);
    button.addEventListener("click", () => open(!menu.classList.contains("show")));
    document.addEventListener("click", (event) => {
      if (!button.contains(event.target)) open(false);
    });
    button.parentElement.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        open(false);
        button.focus();
      }
    });
  }
}

// -- Sidebars: folded on a wide screen, a dialog on a narrow one ------------------------------

function closeFromOutside(dialog) {
  dialog.addEventListener("click", (event) => {
    const box = dialog.getBoundingClientRect();
    const inside =
      event.clientX >= box.left &&
      event.clientX <= box.right &&
      event.clientY >= box.top &&
      event.clientY <= box.bottom;
    if (event.target === dialog && !inside) dialog.close();
  });
}

function setUpSidebar(which, foldsOnWide) {
  const button = document.querySelector(`.${which}-toggle`);
  const sidebar = document.getElementById(`pst-${which}-sidebar`);
  const dialog = document.getElementById(`pst-${which}-sidebar-modal`);
  if (!button || !sidebar || !dialog) return;
  if (which === "primary") {
    sidebar.setAttribute("role", "region"); // its search button stands in no landmark otherwise
    sidebar.setAttribute("aria-label", "Sidebar");
  }
  const move = (from, to) => {
    to.append(...from.childNodes);
    to.classList.add(...from.classList);
    from.className = "";
  };
  button.addEventListener("click", () => {
    if (foldsOnWide && matchMedia("(min-width: 992px)").matches) {
      sidebar.classList.toggle("pst-sidebar-hidden");
      return;
    }
    move(sidebar, dialog);
    dialog.showModal();
  });
  dialog.addEventListener("close", () => {
    move(dialog, sidebar);
    button.focus();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target.closest("a[href*='#']")) dialog.close();
  });
  closeFromOutside(dialog);
}

// -- Code: copied with one click -------------------------------------------------------------

function setUpCopying() {
  for (const block of all(".bd-article div.highlight")) {
    if (block.closest(".cell_output")) continue;
    const code = block.querySelector("pre");
    if (!code) continue;
    const button = make("button", { type: "button", class: "copy-code" }, "Copy");
    button.addEventListener("click", async () => {
      const lines = code.cloneNode(true);
      for (const extra of all(".linenos, .gp, .go", lines)) extra.remove();
      try {
        await navigator.clipboard.writeText(lines.textContent.trimEnd());
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Press Ctrl+C";
      }
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
    block.append(button);
  }
}

// -- Solutions and other boxes: closed until asked for ---------------------------------------

function setUpToggles() {
  const boxes = all(".admonition.dropdown, .admonition.toggle");
  for (const box of boxes) {
    const title = box.querySelector(".admonition-title");
    if (!title) continue;
    const sign = make("button", { type: "button", class: "toggle-box" });
    sign.setAttribute("aria-label", title.textContent.trim());
    const show = (state) => {
      box.classList.toggle("closed-box", !state);
      sign.setAttribute("aria-expanded", state);
    };
    box.openBox = show;
    title.classList.add("opens-box");
    title.append(sign);
    title.addEventListener("click", (event) => {
      if (!event.target.closest("a")) show(box.classList.contains("closed-box"));
    });
    show(box.classList.contains("toggle-shown"));
  }
  const openAround = (element) => {
    for (let box = element; box; box = box.parentElement) {
      if (box.openBox) box.openBox(true);
      if (box.tagName === "DETAILS") box.open = true;
    }
  };
  // A link into a closed box opens it, and paper shows all.
  const followHash = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target?.closest(".closed-box, details:not([open])")) {
      openAround(target);
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", followHash);
  followHash();
  addEventListener("beforeprint", () => boxes.forEach(openAround));
}

// -- The contents follow the reader ----------------------------------------------------------

function setUpContents() {
  const links = new Map();
  for (const link of all("#pst-page-toc-nav a[href^='#']")) {
    const target = document.getElementById(decodeURIComponent(link.hash.slice(1)));
    const heading = target?.closest("section")?.querySelector("h1, h2, h3, h4") ?? target;
    if (heading) links.set(heading, link);
  }
  if (!links.size) return;
  const entries = all("#pst-page-toc-nav .toc-entry");
  const observer = new IntersectionObserver(
    (seen) => {
      const last = seen.filter((entry) => entry.isIntersecting).pop();
      if (!last) return;
      for (const [heading, link] of links) {
        const here = heading === last.target;
        link.classList.toggle("active", here);
        if (here) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
      const current = links.get(last.target);
      for (const entry of entries) entry.classList.toggle("active", entry.contains(current));
    },
    { rootMargin: "-48px 0px -70% 0px" },
  );
  for (const heading of links.keys()) observer.observe(heading);
}

// -- What scrolls can be reached with the keyboard -------------------------------------------

function setUpTabStops() {
  const scrolling = "pre, .math-scroll, .svg-scroll, .cell_output > .output, .pst-scrollable-table-container";
  // Boxes are looked at when they come near: to measure one far away would have all of the page laid out.
  const watcher = new IntersectionObserver(
    (seen) => {
      const near = seen.filter((entry) => entry.isIntersecting).map(({ target }) => target);
      // First all questions, then all changes: in turns each would have the page laid out again.
      const scrolls = near.map((box) => box.scrollWidth > box.clientWidth + 1);
      near.forEach((box, number) => {
        if (scrolls[number]) box.tabIndex = 0;
        else if (box.hasAttribute("tabindex")) box.removeAttribute("tabindex");
      });
    },
    { rootMargin: "100% 0px" },
  );
  const update = () => {
    watcher.disconnect();
    for (const box of all(scrolling)) watcher.observe(box);
  };
  update();
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(update, 300);
  });
}

// -- The top of the page, and the sidebar's place --------------------------------------------

function setUpScrolling() {
  const pixel = document.querySelector(".sbt-scroll-pixel-helper");
  if (pixel) {
    new IntersectionObserver(([entry]) => {
      document.body.classList.toggle("scrolled", entry.boundingClientRect.y < 0);
    }).observe(pixel);
  }
  document.getElementById("pst-back-to-top")?.addEventListener("click", () => scrollTo({ top: 0 }));
  const here = document.querySelector(".bd-sidebar-primary [aria-current='page']");
  const sidebar = document.querySelector(".bd-sidebar-primary");
  if (here && here.offsetTop > sidebar.clientHeight * 0.7) {
    sidebar.scrollTop = here.offsetTop - sidebar.clientHeight / 2;
  }
}

// -- Search: its script comes with the first question ----------------------------------------

const scriptAddress = document.currentScript.src;
let searchScript;

function openSearch() {
  searchScript ??= new Promise((resolve, reject) => {
    const script = make("script", { src: new URL("search.js", scriptAddress) });
    script.onload = resolve;
    script.onerror = reject;
    document.head.append(script);
  });
  const helpers = { root: new URL("../", scriptAddress), closeFromOutside, make };
  searchScript
    .then(() => openBookSearch(helpers))
    .catch(() => {
      searchScript = undefined; // offline, say: the next try may find it
    });
}

function setUpSearch() {
  for (const button of all(".search-button__button")) {
    button.addEventListener("click", openSearch);
  }
  if (/^Mac|^iP/.test(navigator.platform)) {
    for (const key of all(".search-key")) key.textContent = "⌘ K";
  }
  addEventListener("keydown", (event) => {
    const writing = event.target.closest("input, textarea, select, [contenteditable]");
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    const slash = event.key === "/" && plain && !writing;
    const letter = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k";
    if (slash || (letter && !event.shiftKey && !event.altKey)) {
      event.preventDefault();
      openSearch();
    }
  });
}

setUpModes();
setUpSidebar("primary", true);
setUpSidebar("secondary", false);
setUpCopying();
setUpToggles();
setUpContents();
setUpScrolling();
setUpSearch();
addEventListener("load", setUpTabStops);
