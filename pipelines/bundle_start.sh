#!/bin/sh
# Brings the endpoints up from this folder alone: ./start.sh [--key PUBLIC_KEY]
# --key pins who must have signed it; HOTLINE_HOST and HOTLINE_PORT say where to listen.
set -eu
cd "$(dirname "$0")"
sha256sum --check --strict --quiet SHA256SUMS || {
  echo "✗ a file of this bundle is not the one that was packed; nothing was started · 文件与打包时不一致，未启动" >&2
  exit 6
}
if [ -d wheels ]; then
  if [ ! -x venv/bin/hotline ]; then
    echo "Installing the packed Python packages · 正在安装打包的 Python 依赖 …"
    @PYTHON@ -m venv venv
    venv/bin/python -m pip install --quiet --no-index --no-deps --find-links wheels -r requirements.txt
  fi
  PATH="$PWD/venv/bin:$PATH"
fi
hotline bundle-check . "$@"
exec hotline --workspace . serve
