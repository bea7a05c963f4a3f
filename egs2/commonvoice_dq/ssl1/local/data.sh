# shellcheck shell=bash disable=SC2034,SC2154
# Stage 1 for --corpus commonvoice; mini and kaldi are in the template.

nine="en es fr it ky nl ru sv tt" # the paper's languages

corpus_commonvoice() {
    local root=${opt[data_root]:-${COMMONVOICE:-}} lang sources
    [ -d "${root}" ] || die "--corpus commonvoice: set COMMONVOICE in db.sh to the" \
        "folder that holds cv-corpus-*/<lang>/ (now '${root}')"
    if [ ${#langs[@]} -eq 0 ]; then read -ra langs <<<"${nine}"; fi
    read -ra sources <<<"${opt[train_sources]}"
    command=(prepare_commonvoice --corpus "${root}" --langs "${langs[@]}"
        --out "${data}" --train_sources "${sources[@]}"
        --allow_overlap "${opt[allow_overlap]}"
        --max_reject_ratio "${opt[max_reject_ratio]}")
    if [ -n "${opt[cpc_lists]}" ]; then
        command+=(--cpc_lists "${opt[cpc_lists]}")
    fi
    for lang in "${langs[@]}"; do
        input_if "${root}"/{,cv-corpus*/}"${lang}"/{train,dev,test}.tsv
    done
}
