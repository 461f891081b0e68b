#!/usr/bin/env python3
"""compare-images.py A.tar B.tar: fails unless two OCI archives hold the same files and settings.

Times, owners' names and what an engine adds to every image (PATH, its own labels) do not count.
"""
import gzip
import io
import json
import sys
import tarfile


def image(path):
    with tarfile.open(path) as archive:
        def blob(digest):
            return archive.extractfile("blobs/" + digest.replace(":", "/")).read()
        index = json.load(archive.extractfile("index.json"))
        manifest = json.loads(blob(index["manifests"][0]["digest"]))
        config = json.loads(blob(manifest["config"]["digest"]))["config"]
        files = {}
        for layer in manifest["layers"]:
            data = blob(layer["digest"])
            if data[:2] == b"\x1f\x8b":
                data = gzip.decompress(data)
            with tarfile.open(fileobj=io.BytesIO(data)) as inner:
                for entry in inner.getmembers():
                    if entry.isfile():
                        content = inner.extractfile(entry).read()
                        files[entry.name.lstrip("./")] = (oct(entry.mode & 0o7777), content)
    labels = {k: v for k, v in config.get("Labels", {}).items() if not k.startswith("io.buildah")}
    settings = {key: config.get(key) for key in ("User", "Entrypoint", "ExposedPorts", "Cmd", "Volumes", "StopSignal")}
    return files, {**settings, "Labels": labels}


def main():
    (files_a, settings_a), (files_b, settings_b) = map(image, sys.argv[1:3])
    if settings_a != settings_b:
        sys.exit(f"settings differ:\n{settings_a}\n{settings_b}")
    if files_a != files_b:
        names = {name: mode for name, (mode, _) in files_a.items()}, {name: mode for name, (mode, _) in files_b.items()}
        sys.exit(f"files differ: {names[0]} and {names[1]}")
    print(f"{sys.argv[2].rsplit('/', 1)[-1]}: the engine's image has the same {len(files_a)} file and settings")


main()
