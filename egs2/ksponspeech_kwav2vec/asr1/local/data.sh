# shellcheck shell=bash disable=SC2034,SC2154
# Stage 1 for --corpus ksponspeech and clovacall; mini and kaldi are in the template.

corpus_ksponspeech() {
    local root=${opt[data_root]:-${KSPONSPEECH:-}}
    [ -d "${root}" ] || die "--corpus ksponspeech: set KSPONSPEECH in db.sh to the" \
        "folder that holds KsponSpeech_01 to _05 (now '${root}')"
    command=(prepare_ksponspeech --corpus "${root}" --out "${whole}"
        --rule "${opt[rule]}" --max_reject_ratio "${opt[max_reject_ratio]}")
    input_if "${root}"/{,KsponSpeech_scripts/}{train,dev,eval_clean,eval_other}.trn
}

corpus_clovacall() {
    local root=${opt[data_root]:-${CLOVACALL:-}}
    [ -d "${root}" ] || die "--corpus clovacall: set CLOVACALL in db.sh to the" \
        "folder that holds its json files and wav folders (now '${root}')"
    command=(prepare_clovacall --corpus "${root}" --out "${whole}"
        --seed "${opt[seed]}" --max_reject_ratio "${opt[max_reject_ratio]}")
}
