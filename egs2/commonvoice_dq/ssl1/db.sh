# shellcheck shell=bash disable=SC2034
# Where corpora lie on this machine.

# The folder that holds cv-corpus-*/<lang>/ as unpacked from commonvoice.mozilla.org
COMMONVOICE=${COMMONVOICE:-}

# mini: a folder with the packages asterisk-core-sounds-*.deb or what is in them;
# empty: apt-get download where there is one
MINI_RECORDED=${MINI_RECORDED:-}
