#!/usr/bin/env bash
# The last stage of the Dockerfile without Docker: Debian's smallest system of the same release, what the Dockerfile copies into it, its user,
# and in it `saelab --version` and a harvest. As root; installs debootstrap. Usage: scripts/test-image.sh SAELAB
set -euo pipefail
saelab=$1
command -v debootstrap > /dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends debootstrap; }
root=target/image
release=$(sed -n 's/^FROM debian:\([a-z]*\)-slim$/\1/p' Dockerfile)
test -n "$release" || { echo "the Dockerfile's last stage is no debian:RELEASE-slim" >&2; exit 1; }
if ! test -e "$root/etc/debian_version"; then
    rm -rf "$root" "$root.partial"
    debootstrap --variant=minbase "$release" "$root.partial" > target/debootstrap.log 2>&1 || { tail -3 target/debootstrap.log >&2; exit 1; }
    mv "$root.partial" "$root"
fi
install -D -m 755 "$saelab" "$root/usr/local/bin/saelab"
mkdir -p "$root/etc/ssl/certs" "$root/opt/saelab" "$root/home/saelab"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
rm -rf "$root/opt/saelab/models" "$root/opt/saelab/configs"
mkdir "$root/opt/saelab/models"
cp -r models/small-world "$root/opt/saelab/models/"
cp -r configs "$root/opt/saelab/"
chown 10001:10001 "$root/home/saelab"
rm -rf "$root/home/saelab/store"
run() { HOME=/home/saelab chroot --userspec=10001:10001 "$root" /bin/sh -c 'cd /opt/saelab && exec saelab "$@"' saelab "$@"; }
run --version
run harvest configs/ioi/harvest.toml --set source.n=200 --out /home/saelab/store
test -s "$root/home/saelab/store/manifest.json"
echo "PASS: in Debian $release with nothing installed, as user 10001"
