#!/bin/sh
# Turns a stock Debian machine into a node of the cluster: programs, links, directories, kernel settings, units.
# cloud-init runs it once, after writing the files and installing the packages; it can safely be run again.
# Its input files are in the same directory, one item per line, fields separated by tabs.
set -eu
cd "$(dirname "$0")"
tab=$(printf '\t')
work=$(mktemp -d /var/tmp/kiln.XXXXXXXX)
trap 'rm -rf "$work"' EXIT

# Renames the interface to the configured name. Without a MAC address in the cluster file, the interface is the
# only one with a device.
interface=$(cat interface)
if [ ! -e "/sys/class/net/$interface" ]; then
    for device in /sys/class/net/*/device; do
        [ -e "$device" ] || continue
        found=$(basename "$(dirname "$device")")
        ip link set dev "$found" down
        ip link set dev "$found" name "$interface"
        ip link set dev "$interface" up
        networkctl reload
        networkctl reconfigure "$interface"
        break
    done
fi

# Programs: missing or different ones are installed from the archives; a program whose digest
# differs from the pinned one is never run.
while IFS=$tab read -r digest url; do
    sha256sum --check --status programs && break
    curl --fail --silent --show-error --location --retry 20 --retry-delay 5 --retry-all-errors --output "$work/archive" "$url"
    echo "$digest  $work/archive" | sha256sum --check --quiet
    mkdir -p "$work/unpacked"
    tar --extract --gzip --file "$work/archive" --directory "$work/unpacked" --no-same-owner
    rm "$work/archive"
    while read -r digest path; do
        program=$(find "$work/unpacked" -type f -name "$(basename "$path")" \( -path '*/bin/*' -o -path "$work/unpacked/etcd-v*" \) | head -n 1)
        [ -z "$program" ] || install --mode=0755 --owner=root --group=root "$program" "$path"
    done <programs
    rm -rf "$work/unpacked"
done <archives
if [ -s programs ] && ! sha256sum --check --quiet programs; then
    echo "kiln: no archive contains these programs; add them to the image, or list their archive under binaries in the cluster file" >&2
    exit 1
fi

while IFS=$tab read -r mode uid gid path; do
    install -d -m "$mode" -o "$uid" -g "$gid" "$path"
done <directories
while IFS=$tab read -r path target; do
    mkdir -p "$(dirname "$path")"
    ln -sfn "$target" "$path"
done <links

swapoff -a
# A setting that this kernel rejects is reported; the rest of the machine is set up anyway.
systemctl restart systemd-modules-load.service || echo "kiln: a kernel module failed to load: see systemctl status systemd-modules-load" >&2
sysctl --quiet --system || echo "kiln: this kernel rejects a setting in /etc/sysctl.d" >&2
# Before this point, packages' services must not start with their default configuration.
rm -f /usr/sbin/policy-rc.d
systemctl daemon-reload
# Units that are masked now may have been running.
while IFS=$tab read -r path target; do
    [ "$target" != /dev/null ] || systemctl stop "$(basename "$path")" 2>/dev/null || true
    [ "$target" != /dev/null ] || systemctl reset-failed "$(basename "$path")" 2>/dev/null || true
done <links
xargs -r systemctl restart --no-block <units
