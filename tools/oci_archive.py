#!/usr/bin/env python3
"""Writes container images of one layer as OCI archives, without a base image, a registry or an engine.

    oci_archive.py directory OUT.tar ROOT_DIR ENTRYPOINT_JSON NAME:TAG…
    oci_archive.py containerfile OUT.tar CONTAINERFILE TARGET CONTEXT_DIR NAME:TAG…

The first packs a directory as it is; the second builds a stage of a Containerfile that begins `FROM scratch` and uses
COPY FILE FILE, USER, EXPOSE, LABEL and ENTRYPOINT only (anything else is an error). The same input gives the same
bytes: names sorted, no times, no owners. `ctr images import`, `kind load image-archive`, `podman load` and
`docker load` (25 or newer) read the result; its digest is printed.
"""
import hashlib
import io
import json
import os
import shlex
import stat
import sys
import tarfile

CREATED = "1970-01-01T00:00:00Z"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def add_entry(archive, name, mode, kind=tarfile.REGTYPE, data=b"", target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(data), target
    archive.addfile(entry, io.BytesIO(data))


def directory_layer(root):
    """A tar of what is below root; modes are kept."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for folder, folders, files in os.walk(root):
            folders.sort()
            for name in sorted(folders + files):
                path = os.path.join(folder, name)
                inside, mode = os.path.relpath(path, root), stat.S_IMODE(os.lstat(path).st_mode)
                if os.path.islink(path):
                    add_entry(archive, inside, 0o777, tarfile.SYMTYPE, target=os.readlink(path))
                elif os.path.isdir(path):
                    add_entry(archive, inside + "/", mode, tarfile.DIRTYPE)
                else:
                    with open(path, "rb") as file:
                        add_entry(archive, inside, mode, data=file.read())
    return buffer.getvalue()


def instructions(path):
    """(instruction, rest) of every line of a Containerfile, continued lines joined."""
    with open(path, encoding="utf-8") as file:
        text = file.read().replace("\\\n", " ")
    for line in text.splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            yield word.upper(), rest.strip()


def containerfile_stage(path, target, context):
    """The layer and the configuration of one stage."""
    files, config, found, inside = [], {}, False, False
    for word, rest in instructions(path):
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            if image != "scratch":
                sys.exit(f"{path}: FROM {image}: only scratch can be built without an engine")
            inside = name.strip() == target
            found = found or inside
        elif not inside:
            continue
        elif word == "COPY":
            source, destination = rest.split()
            files.append((os.path.join(context, source), destination.lstrip("/")))
        elif word == "USER":
            config["User"] = rest
        elif word == "ENTRYPOINT":
            config["Entrypoint"] = json.loads(rest)
        elif word == "EXPOSE":
            config["ExposedPorts"] = {port + "/tcp": {} for port in rest.split()}
        elif word == "LABEL":
            labels = dict(item.split("=", 1) for item in shlex.split(rest))
            config.setdefault("Labels", {}).update(labels)
        else:
            sys.exit(f"{path}: {word} cannot be built without an engine")
    if not found:
        sys.exit(f"{path}: there is no stage {target}")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for source, destination in sorted(files, key=lambda pair: pair[1]):
            with open(source, "rb") as file:
                add_entry(archive, destination, 0o755, data=file.read())
    return buffer.getvalue(), config


def write_image(out, layer, config, names):
    """Writes the archive; its manifest's digest."""
    blobs = {}

    def put(data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data)}

    def as_json(value):
        return json.dumps(value, sort_keys=True).encode()

    layer_descriptor = put(layer, LAYER_TYPE)
    config_descriptor = put(as_json({
        "architecture": "amd64", "os": "linux", "created": CREATED, "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer_descriptor["digest"]]},
    }), CONFIG_TYPE)
    manifest = put(as_json({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config_descriptor, "layers": [layer_descriptor],
    }), MANIFEST_TYPE)
    index = as_json({"schemaVersion": 2, "manifests": [
        {**manifest, "platform": {"os": "linux", "architecture": "amd64"},
         "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}}
        for name in names]})
    with tarfile.open(out + ".new", "w", format=tarfile.PAX_FORMAT) as archive:
        add_entry(archive, "oci-layout", 0o644, data=b'{"imageLayoutVersion":"1.0.0"}')
        add_entry(archive, "index.json", 0o644, data=index)
        for digest, data in sorted(blobs.items()):
            add_entry(archive, "blobs/sha256/" + digest, 0o644, data=data)
    os.replace(out + ".new", out)
    return manifest["digest"]


def main(arguments):
    if len(arguments) >= 5 and arguments[0] == "directory":
        out, root, entrypoint, *names = arguments[1:]
        config = {"Entrypoint": json.loads(entrypoint),
                  "Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
        print(write_image(out, directory_layer(root), config, names))
    elif len(arguments) >= 6 and arguments[0] == "containerfile":
        out, path, target, context, *names = arguments[1:]
        layer, config = containerfile_stage(path, target, context)
        print(write_image(out, layer, config, names))
    else:
        sys.exit(__doc__)


main(sys.argv[1:])
