#!/usr/bin/env bash
# Write constraints/py311.txt and py312.txt anew from pyproject.toml (needs uv).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for version in 3.11 3.12; do
    out=constraints/py${version/./}.txt
    {
        echo "# Versions that 'make test' passed with, Python ${version}."
        echo "# Rewritten by tools/lock.sh; names and versions only."
        uv pip compile pyproject.toml --all-extras --python-version "${version}" \
            --no-header --no-annotate --quiet
    } >"${out}.new"
    mv "${out}.new" "${out}"
done
