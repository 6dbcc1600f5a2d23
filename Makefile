.DEFAULT_GOAL := help
BIN := .venv/bin
MANAGE := $(BIN)/python manage.py
PYTEST_ARGS ?= -n 4 --dist loadgroup --no-loadscope-reorder

# The files that have any: to collect all others takes each process 20 seconds.
LONG_TESTS = $$(grep -rl --include='test_*.py' 'mark\.long' boot common accounts uploads frontend client)

.PHONY: docs help install install-dev migrate makemigrations run server shell test test-fast test-long test-interop lint client format \
	check check-types check-lint check-settings run-tests superuser clean css css-watch lock \
	docker-up docker-down docker-logs docker-shell

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install:  ## Make .venv with what the portal needs
	@scripts/install.sh requirements.txt

install-dev: install  ## ... and what tests and checks need
	@scripts/install.sh requirements-dev.txt

run: install  ## Run the portal: database, web server, worker, scheduler
	@./doorito up

server: install  ## Run Django's development server (Dev settings) on WEB_PORT or 8000
	@$(MANAGE) migrate --verbosity 0
	@$(MANAGE) runserver 127.0.0.1:$${WEB_PORT:-8000}

migrate: install  ## Bring the database up to date
	@$(MANAGE) migrate

makemigrations: install  ## Write migrations for changed models
	@$(MANAGE) makemigrations

shell: install  ## Open Django's shell
	@$(MANAGE) shell

superuser: install  ## Create an administrator
	@$(MANAGE) createsuperuser

check: install-dev  ## The whole gate: lint, format, types, layers, settings, migrations
	@$(MAKE) --no-print-directory --jobs 3 --output-sync=target check-types check-lint check-settings

check-types:
	$(BIN)/mypy .

check-lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=client $(BIN)/lint-imports

check-settings:
	DJANGO_CONFIGURATION=Test $(MANAGE) check --fail-level WARNING
	DJANGO_CONFIGURATION=Production DJANGO_SECRET_KEY=$$(head -c 64 /dev/urandom | base64 -w 0) \
		DJANGO_ALLOWED_HOSTS=localhost PORTAL_BASE_URL=https://localhost $(MANAGE) check --deploy --fail-level WARNING
	DJANGO_CONFIGURATION=Test $(MANAGE) makemigrations --check --dry-run

test: install-dev check-lint  ## The gate and all but the long tests (PYTEST_ARGS="-k name" chooses)
	@$(MAKE) --no-print-directory --jobs 3 check-types check-settings run-tests

run-tests:
	$(BIN)/pytest -m "not long and not interop" $(PYTEST_ARGS)

test-fast: install-dev  ## The tests that start no process and no browser, for while one works
	$(BIN)/pytest -m "not long and not interop and not process and not browser" $(PYTEST_ARGS)

test-long: install-dev  ## The tests that are slow by nature: many kills, large amounts of data
	$(BIN)/pytest -m "long and not interop" $(PYTEST_ARGS) -n 6 $(LONG_TESTS)

test-interop: install-dev  ## Tests of protocols once more, with other implementations of them
	$(BIN)/pytest -m interop $(PYTEST_ARGS)

lint: install-dev  ## Find and fix what ruff can
	$(BIN)/ruff check --fix .

format: install-dev  ## Format the code
	$(BIN)/ruff format .

css:  ## Compile static/css/main.css (Tailwind v4)
	@scripts/css.sh

css-watch:  ## Compile it at every change
	@scripts/css.sh --watch

lock: install-dev  ## Lock requirements*.in, with hashes
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --output-file requirements.txt requirements.in
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --constraint requirements.txt \
		--output-file requirements-dev.txt requirements-dev.in
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --output-file requirements-docs.txt requirements-docs.in

client: install-dev  ## Build the client's package and wheel into client/dist
	@rm -rf client/dist
	@cd client && ../$(BIN)/hatchling build

docs: install-dev  ## Build the manual as a site into dist/docs; a broken link fails
	@test -x .venv/docs/bin/python || $(BIN)/python -m venv .venv/docs
	@$(BIN)/uv pip install --quiet --python .venv/docs/bin/python --require-hashes -r requirements-docs.txt
	@.venv/docs/bin/sphinx-build --quiet --fail-on-warning --keep-going docs dist/docs
	@echo "Open dist/docs/index.html"

# --- Containers (docs/deploy.md). COMPOSE=podman-compose for Podman ----------------------------

COMPOSE ?= docker compose
DEV_COMPOSE := $(COMPOSE) -f docker-compose.yml -f docker-compose.dev.yml

docker-up:  ## Build and start the containers for development: web (runserver), db
	$(DEV_COMPOSE) up --build --detach

docker-down:  ## Stop and remove them; data stays
	$(DEV_COMPOSE) --profile celery down

docker-logs:  ## Follow what they print
	$(DEV_COMPOSE) logs --follow

docker-shell:  ## Open a shell in the web server's container
	$(DEV_COMPOSE) exec web bash

# -----------------------------------------------------------------------------------------------

clean:  ## Remove .venv and caches; data stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

aikb: install-dev  ## Bring the tables of aikb/ up to date with the code
	@$(MANAGE) aikb

# --- Proposals (PEPs/ABOUT.md) -----------------------------------------------------------------

# What is given on the command line reaches the scripts through the environment, and as it was
# written: neither make nor the shell looks into it.
override TITLE := $(value TITLE)
override DESC := $(value DESC)
override PEP := $(value PEP)
# Shells have a PROMPT of their own.
override PROMPT := $(if $(filter command,$(origin PROMPT)),$(value PROMPT))
export TITLE DESC PEP PROMPT

.PHONY: aikb pep-new pep-complete pep-archive claude-pep-draft claude-pep-research claude-pep-plan \
	claude-pep-discuss claude-pep-todo claude-pep-preflight claude-pep-implement claude-pep-review \
	claude-pep-finalize

pep-new:  ## Begin a proposal: TITLE="..."
	@scripts/pep-new.sh "$$TITLE"

pep-complete:  ## Say what is open in a proposal, or how to close it: PEP=NNNN
	@scripts/pep-complete.sh "$$PEP"

pep-archive:  ## Keep ten entries in PEPs/IMPLEMENTED/LATEST.md
	@scripts/pep-archive.sh

claude-pep-draft:  ## Claude drafts a proposal: DESC="..."
	@scripts/pep-claude.sh draft

claude-pep-research:  ## ... writes down what the code says about it: PEP=NNNN
	@scripts/pep-claude.sh research

claude-pep-plan:  ## ... makes its plan precise
	@scripts/pep-claude.sh plan

claude-pep-discuss:  ## ... settles its open questions
	@scripts/pep-claude.sh discuss

claude-pep-todo:  ## ... breaks its plan into small steps
	@scripts/pep-claude.sh todo

claude-pep-preflight:  ## ... says whether the plan fits today's code
	@scripts/pep-claude.sh preflight

claude-pep-implement:  ## ... carries out the next steps
	@scripts/pep-claude.sh implement

claude-pep-review:  ## ... answers its REVIEW notes
	@scripts/pep-claude.sh review

claude-pep-finalize:  ## ... closes it: aikb, record, index
	@scripts/pep-claude.sh finalize
