#!/usr/bin/env bash
# Installs what lets Vulkan programs run without a GPU: the loader (libvulkan1) and Mesa's software driver. Does nothing
# where a Vulkan driver, of a GPU or in software, is there already.
set -euo pipefail

# Not everybody has ldconfig in the path.
PATH="$PATH:/usr/sbin:/sbin"
has_loader() { [[ $(ldconfig -p) == *libvulkan.so.1* ]]; }
has_driver() { compgen -G '/usr/share/vulkan/icd.d/*.json' > /dev/null || compgen -G '/etc/vulkan/icd.d/*.json' > /dev/null; }

if has_loader && has_driver; then exit 0; fi

manual='install a Vulkan loader and driver (Debian: mesa-vulkan-drivers libvulkan1), then run this again'
if ! command -v apt-get > /dev/null; then
    echo "software-vulkan: this system has no apt-get; $manual" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "software-vulkan: only root may install packages; $manual" >&2
    exit 1
fi
echo "software-vulkan: installing mesa-vulkan-drivers and libvulkan1" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends mesa-vulkan-drivers libvulkan1
has_loader && has_driver
