#!/usr/bin/env python3
"""Packs a directory as a container image: an OCI layout in a tar archive, with one layer and the given names.

Reproducible: entries are sorted, owned by root, and all dates are zero.
"""
import argparse
import hashlib
import io
import json
import os
import tarfile


def member(name, size=0, **attributes):
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def layer(root):
    """Returns the directory as a tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for directory, directories, files in os.walk(root):
            directories.sort()
            for name in sorted(directories + files):
                path = os.path.join(directory, name)
                inside = os.path.relpath(path, root)
                if os.path.islink(path):
                    tar.addfile(member(inside, type=tarfile.SYMTYPE, linkname=os.readlink(path)))
                elif os.path.isdir(path):
                    tar.addfile(member(inside, type=tarfile.DIRTYPE, mode=0o1777 if inside == "tmp" else 0o755))
                else:
                    with open(path, "rb") as file:
                        tar.addfile(member(inside, os.path.getsize(path), mode=0o755), file)
    return out.getvalue()


def digest(data):
    return hashlib.sha256(data).hexdigest()


def image(root, entrypoint, names, architecture):
    """Returns the members of the archive, path to bytes."""
    blobs = {}

    def blob(data, kind):
        blobs["blobs/sha256/" + digest(data)] = data
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": "sha256:" + digest(data), "size": len(data)}

    def text(value):
        return json.dumps(value, sort_keys=True).encode()

    files = layer(root)
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": [entrypoint], "Env": [path]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(files)]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(text(config), "config.v1+json"),
        "layers": [blob(files, "layer.v1.tar")],
    }
    entry = blob(text(manifest), "manifest.v1+json")
    manifests = [{**entry, "annotations": {"io.containerd.image.name": name}} for name in names]
    blobs["index.json"] = text({"schemaVersion": 2, "manifests": manifests})
    blobs["oci-layout"] = text({"imageLayoutVersion": "1.0.0"})
    return blobs


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("root")
    arguments.add_argument("archive")
    arguments.add_argument("names", nargs="+")
    arguments.add_argument("--entrypoint", required=True)
    arguments.add_argument("--architecture", default="amd64")
    given = arguments.parse_args()
    blobs = image(given.root, given.entrypoint, given.names, given.architecture)
    with tarfile.open(given.archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in sorted(blobs.items()):
            tar.addfile(member(name, len(data), mode=0o644), io.BytesIO(data))


main()
