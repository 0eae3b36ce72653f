# make demo   a control plane, four images from git, a commit, and a real security fix for all
# make test   sets up and passes all tests
# make bench  measures, beside peers
SHELL := /bin/sh
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# Without paths of this clone in what is compiled, another clone finds it in Go's cache.
export GOFLAGS := $(or $(GOFLAGS),-buildvcs=false) -trimpath

.PHONY: all buildpacks demo demo-commands test test-install bench fuzz setup clean

all: bin/plimsoll bin/kubernetes bin/lifecycle bin/agent bin/probe buildpacks

bin/plimsoll: FORCE
	@go build -trimpath -ldflags "-X plimsoll.dev/plimsoll/internal/program.release=$(VERSION)" -o $@ ./cmd/plimsoll

# Kubernetes in one program, and what stands beneath its pods. The script knows whether they are
# up to date, and where it kept them when this clone is new.
bin/kubernetes: FORCE
	@scripts/kubernetes bin

# What builder images are made of: the lifecycle of Cloud Native Buildpacks as its makers
# publish it, and our own buildpacks, for both architectures.
ARCHITECTURES := amd64 arm64
bin/lifecycle: lifecycle/go.mod lifecycle/go.sum
	@scripts/lifecycle $@ $(ARCHITECTURES)

# What runs in the pods of steps, for nodes of both architectures.
bin/agent: FORCE
	@for arch in $(ARCHITECTURES); do CGO_ENABLED=0 GOOS=linux GOARCH=$$arch \
		go build -trimpath -ldflags "-s -w" -o $@/linux/$$arch/agent ./internal/executor/pod/agent || exit 1; done

# What asks images over HTTP, where campaigns test them.
bin/probe: FORCE
	@for arch in $(ARCHITECTURES); do CGO_ENABLED=0 GOOS=linux GOARCH=$$arch \
		go build -trimpath -ldflags "-s -w" -o $@/linux/$$arch/probe ./cmd/probe || exit 1; done

BUILDPACKS := $(patsubst buildpacks/%/buildpack.toml,%,$(wildcard buildpacks/*/buildpack.toml))
buildpacks:
	@for name in $(BUILDPACKS); do for arch in $(ARCHITECTURES); do \
		dir=bin/buildpacks/$$name/linux/$$arch/bin && mkdir -p $$dir && \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -ldflags "-s -w" -o $$dir/main ./buildpacks/$$name && \
		ln -sf main $$dir/detect && ln -sf main $$dir/build || exit 1; done; \
		install -m 644 buildpacks/$$name/buildpack.toml bin/buildpacks/$$name/buildpack.toml; done
	@# The one that makes all of these for Plimsoll's own image is scripts.
	@rm -rf bin/buildpacks/parts && cp -R images/parts bin/buildpacks/

demo: all
	@scripts/setup run
	@mkdir -p $${PLIMSOLL_HOME:-.demo}
	@scripts/demo

# The same without a control plane, command by command; and containerd, which is refused.
demo-commands: all
	@scripts/setup run
	@mkdir -p $${PLIMSOLL_HOME:-.demo-commands}
	@scripts/demo-commands

setup:
	@scripts/setup test

MODULES := kms/pkcs11 interop/pack interop/cosign interop/scanners interop/oidc interop/helm examples/apps/go
test: setup all
	@test -z "$$(gofmt -l api artifact buildpacks cmd config internal kubernetes)" || { echo "not formatted:"; gofmt -l api artifact buildpacks cmd config internal kubernetes; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	go test -timeout 60m ./...
	@# Modules of their own: peers and programs that stay out of the main one.
	@for dir in $(MODULES); do echo "== $$dir"; (cd $$dir && go vet ./... && go test -timeout 20m ./...) || exit 1; done
	@echo "All tests passed. Next: make demo, or make bench."

# Plimsoll's own image, built by itself from this clone, and the chart on a real cluster: as root. The first
# run compiles all that Plimsoll is made of, a quarter of an hour of one processor; later ones what has changed.
test-install: setup all
	cd interop/helm && go vet -tags install ./... && go test -tags install -timeout 90m -run TestInstall ./...

bench: all
	@scripts/setup bench
	go test -run '^$$' -bench . -benchtime 1x -timeout 180m $$(go list ./... | grep -v internal/registry)
	@# In memory: on a disk a push is a wait for fsync, and the ratio is noise.
	TMPDIR=/dev/shm go test -run '^$$' -bench . -benchtime 3s -timeout 60m ./internal/registry ./internal/registry/access
	TMPDIR=/dev/shm go test -run '^$$' -bench RebaseEvidence -benchtime 1x -timeout 60m ./internal/program
	@# Beside syft, as whole processes on the same images.
	cd bench && go run ./sbom

# Each fuzz target for a while: make fuzz FUZZTIME=5m
FUZZTIME ?= 20s
fuzz:
	@scripts/fuzz $(FUZZTIME)

clean:
	rm -rf bin .demo

FORCE:
