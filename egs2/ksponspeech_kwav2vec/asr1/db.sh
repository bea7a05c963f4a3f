# shellcheck shell=bash disable=SC2034
# Where corpora lie on this machine.

# The folder that holds KsponSpeech_01 .. KsponSpeech_05, KsponSpeech_eval and the .trn
KSPONSPEECH=${KSPONSPEECH:-}

# The folder of ClovaCall's json files and wav folders
CLOVACALL=${CLOVACALL:-}
