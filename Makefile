# Every target sets up what it needs inside the checkout: a virtual environment in .venv,
# filled from requirements.lock with the hashes checked. Nothing else is fetched.

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
BUILD   := _build
# Without a pinned zone and hash seed two builds of the same source could differ.
export TZ := UTC
export PYTHONHASHSEED := 0
# -n: every cross reference must resolve. -W --keep-going: all warnings are errors, and all are shown.
# -d: page trees live outside the output, where no reader or EPUB packs them.
SPHINX   = $(BIN)/python -m sphinx -n -W --keep-going -j $(JOBS) $(SPHINXOPTS)
JOBS    ?= auto
SPHINXOPTS ?=

.DEFAULT_GOAL := help
.PHONY: help html live test lint format linkcheck pdf epub bench lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The marker is newer than the lock exactly when the environment holds what the lock says.
$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "This needs Python 3.11 or newer; yours is " + sys.version.split()[0] + ". Try: make PYTHON=python3.13")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing. On Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (once, a minute or two) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

html: $(READY)  ## build the site into _build/html
	@$(SPHINX) -b html -d $(BUILD)/doctrees/html . $(BUILD)/html
	@echo "The site is in $(BUILD)/html: open $(BUILD)/html/index.html"

live: $(READY)  ## rebuild and reload in the browser while you write
	@$(BIN)/python _ext/live.py -n --port 0 --open-browser -D book_search=0 -d $(BUILD)/doctrees/html \
	  --ignore '$(CURDIR)/_build/*' --ignore '*/.git/*' --ignore '*/.venv/*' . $(BUILD)/html

test: $(READY)  ## run the tests (a missing browser or TeX skips its tests with one line)
	@$(BIN)/python -m pytest $(PYTESTOPTS)

lint: $(READY)  ## check format, style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY)  ## let ruff format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

linkcheck: $(READY)  ## ask every outside link whether it is still there (needs the network)
	@$(SPHINX) -b linkcheck -d $(BUILD)/doctrees/linkcheck . $(BUILD)/linkcheck

pdf: $(READY)  ## typeset each volume, the guide and everything into _build/downloads (needs TeX)
	@command -v latexmk >/dev/null && command -v xelatex >/dev/null && command -v rsvg-convert >/dev/null || { \
	  echo "make pdf needs TeX and rsvg-convert. On Debian or Ubuntu: sudo apt install $(TEX_PACKAGES)"; exit 1; }
	@$(SPHINX) -b latex -d $(BUILD)/doctrees/latex . $(BUILD)/latex
	@$(MAKE) --no-print-directory -C $(BUILD)/latex LATEXMKOPTS="-interaction=nonstopmode -halt-on-error -silent" all-pdf || { \
	  echo "TeX stopped; the end of its log says where. If a package or a font is missing: sudo apt install $(TEX_PACKAGES)"; exit 1; }
	@$(BIN)/python _ext/check_tex_log.py $(BUILD)/latex
	@mkdir -p $(BUILD)/downloads && rm -f $(BUILD)/downloads/*.pdf
	@for tex in $(BUILD)/latex/*.tex; do cp $${tex%.tex}.pdf $(BUILD)/downloads/; done
	@ls -l $(BUILD)/downloads/*.pdf

# What `make pdf` needs, in Debian's names; .ci/run and .readthedocs.yaml install the same.
TEX_PACKAGES := latexmk texlive-latex-recommended texlive-latex-extra texlive-xetex texlive-fonts-recommended tex-gyre fonts-texgyre fonts-texgyre-math fonts-dejavu-core fonts-dejavu-extra fonts-freefont-otf fonts-symbola fonts-noto-cjk librsvg2-bin

EPUBCHECK := /usr/share/java/epubcheck.jar

epub: $(READY)  ## pack the same as EPUBs into _build/downloads (checked, if epubcheck is installed)
	@$(SPHINX) -b epub -d $(BUILD)/doctrees/epub . $(BUILD)/epub
	@if [ -e $(EPUBCHECK) ]; then \
	  for book in $(BUILD)/epub/*.epub; do java -jar $(EPUBCHECK) --failonwarnings $$book || exit 1; done; else \
	  echo "The EPUB is not checked: epubcheck is missing. On Debian or Ubuntu: sudo apt install epubcheck"; fi
	@mkdir -p $(BUILD)/downloads && rm -f $(BUILD)/downloads/*.epub && cp $(BUILD)/epub/*.epub $(BUILD)/downloads/
	@ls -l $(BUILD)/downloads/*.epub

# The builds alone take half an hour of an idle core, most of it the others'. For less:
# make bench BENCH_OPTIONS="--chapters 100 --contenders ours hugo"
BENCH_OPTIONS ?= --chapters 100 400 1600

$(VENV)/.bench: benchmarks/requirements.lock $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/requirements.lock
	@touch $@

bench: $(VENV)/.bench  ## measure speed against ordinary alternatives, as ratios
	@$(BIN)/python benchmarks/bench_llm_primer.py --output $(BUILD)/bench/llm_primer.json
	@$(BIN)/python benchmarks/bench_build.py $(BENCH_OPTIONS) --output $(BUILD)/bench/build.json

lock:  ## renew requirements.lock from pyproject.toml (needs uv)
	uv pip compile --universal --generate-hashes --no-header --upgrade --python-version 3.11 \
	  --group book --group test --group live pyproject.toml -o requirements.lock
	uv pip compile --universal --generate-hashes --no-header --upgrade --python-version 3.11 \
	  --group pyproject.toml:bench -o benchmarks/requirements.lock

clean:  ## remove what was built; the cells' stored outputs stay (rm -r _build removes them too)
	@find $(BUILD) -mindepth 1 -maxdepth 1 ! -name '.*' -exec rm -rf {} + 2>/dev/null || true
