#!/usr/bin/env bash
# The TransCoder: words for the phonemes that a fine-tuned system has recognised, by a
# model that learns spelling from text alone. A recipe's transcoder.sh calls this from
# its own directory (conf/, path.sh, cmd.sh) with its defaults first. It needs stages
# 1-4 of run.sh, and stage 10 with --units phn of the experiment.
set -euo pipefail

template=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=options.sh
. "${template}/options.sh"
# shellcheck source=stages.sh
. "${template}/stages.sh"
# shellcheck source=recipe.sh
. "${template}/recipe.sh"

stage_names=(units pairs train decode score)

die() {
    echo "transcoder.sh: $*" >&2
    exit 2
}

declare_options() {
    heading "What to run"
    option exp "" "experiment whose phonemes become words (default: <work_dir>/exp/dq)"
    option asr phn "its phoneme system: <exp>/decode_<asr>/<set>/hyp"
    option transcoder "" "where the model is or goes; all experiments can share it (default: <work_dir>/exp/transcoder)"
    option stage units "first stage: ${stage_names[*]}"
    option stop_stage score "last stage"
    option dry_run false "true: say what would run and why; touch nothing"
    option force "" "stages to run though they are done: names, or all"
    option work_dir . "where run.sh has made data and dump"
    option resume auto "training: auto (an interrupted run), must or never"
    option seed 0 "seed of the training, and of the mini corpus' sentences"
    option python "" "interpreter (default: the active environment's, or .venv)"

    heading "Text to learn from (units, pairs)"
    option text "" "files with lines 'lang<TAB>sentence', or data directories (text, utt2lang)"
    option transcripts true "true: the transcripts of dump/train as well"
    option corpus mini "mini: sentences of its sources beyond its training set as well"
    option mini_sentences "" "so many per language (default: corpus mini 4000, else 0)"
    option words true "true: each word of the sentences is an example of its own as well"
    option test_sets "" "sets to hold out, decode and score (default: all of dump/test*)"

    heading "Training (train)"
    option size mini "mini or base"
    option transcoder_config "" "default: conf/train_transcoder_<size>.yaml"
    option train_args "" "further options of espnet2_dq.bin.transcoder_train"

    heading "Decoding (decode, score)"
    option beam 5 "beam size; 1 is greedy"
    option reference false "true: also the reference phonemes, to <transcoder>/score_reference"
    option decode_args "" "further options of espnet2_dq.bin.transcoder_decode"

    heading "Machine"
    option ngpu auto "GPUs of one job; auto: 1 if there is one"
}

check_options() {
    require_one_of dry_run true false
    require_one_of resume auto must never
    require_one_of transcripts true false
    require_one_of reference true false
    require_one_of words true false
    require_one_of corpus mini kaldi commonvoice
    require_one_of stage "${stage_names[@]}"
    require_one_of stop_stage "${stage_names[@]}"
    case ${opt[corpus]} in
    mini) set_default mini_sentences 4000 ;;
    *) set_default mini_sentences 0 ;;
    esac
    if [ "${opt[ngpu]}" = auto ]; then
        opt[ngpu]=0
        if nvidia-smi -L >/dev/null 2>&1; then opt[ngpu]=1; fi
    fi
    require_number seed beam ngpu mini_sentences
    set_default transcoder_config "conf/train_transcoder_${opt[size]}.yaml"
    [ -f "${opt[transcoder_config]}" ] ||
        die "--size '${opt[size]}': no ${opt[transcoder_config]} (from ${PWD})"
}

set_paths() {
    local prefix=${opt[work_dir]%/}/
    prefix=${prefix#./}
    data=${prefix}data dump=${prefix}dump
    set_default exp "${prefix}exp/dq"
    set_default transcoder "${prefix}exp/transcoder"
    exp=${opt[exp]%/} transcoder=${opt[transcoder]%/}
    system=transcoder_${opt[asr]}
    characters=${prefix}units/char
    one_gpu=0
    if [ "${opt[ngpu]}" -gt 0 ]; then one_gpu=1; fi
    read -ra texts <<<"${opt[text]}"
    read -ra train_args <<<"${opt[train_args]}"
    read -ra decode_args <<<"${opt[decode_args]}"
    if [ "${opt[transcripts]}" = true ]; then texts=("${dump}/train" "${texts[@]}"); fi
    [ -e "${dump}/train/text" ] || [ "${opt[dry_run]}" = true ] ||
        die "${dump}/train has no text: run stages 1-4 of run.sh with transcripts"
}

# The references of WER are stage 4's; it is done where characters were fine-tuned.
run_units() {
    needs_text 04_units
    make_units char "${characters}"
}

run_pairs() {
    local set text held_out=() command=()
    needs_text pairs
    for text in "${texts[@]}"; do
        if [ -d "${text}" ]; then input "${text}"/{text,utt2lang}; else input "${text}"; fi
    done
    input "${dump}/dev"/{text,utt2lang}
    for set in "${tests[@]}"; do
        held_out+=("${dump}/${set}")
        input "${dump}/${set}"/{text,utt2lang}
    done
    output "${transcoder}"/data/{train,valid}/{phn,char}.{int,len}
    output "${transcoder}"/data/{phn_tokens.txt,char_tokens.txt,report.tsv}
    command=(python -m espnet2_dq.bin.transcoder_data --valid "${dump}/dev"
        --mini_sentences "${opt[mini_sentences]}" --seed "${opt[seed]}"
        --words "${opt[words]}" --out "${transcoder}/data")
    if [ ${#texts[@]} -gt 0 ]; then command+=(--text "${texts[@]}"); fi
    if [ ${#held_out[@]} -gt 0 ]; then command+=(--held_out "${held_out[@]}"); fi
    run_stage pairs "${transcoder}" "${command[@]}"
}

run_train() {
    local training
    training_options
    input "${transcoder}"/data/{train,valid}/{phn,char}.{int,len}
    input "${transcoder}"/data/{phn,char}_tokens.txt "${opt[transcoder_config]}"
    output "${transcoder}"/train/{latest.pth,config.yaml}
    fresh "${transcoder}/train"
    on_cluster "${cuda_cmd}" "${opt[ngpu]}" "${transcoder}/train/train.log"
    run_stage train "${transcoder}" python -m espnet2_dq.bin.transcoder_train \
        --config "${opt[transcoder_config]}" --data "${transcoder}/data" \
        --output_dir "${transcoder}/train" "${training[@]}" "${train_args[@]}"
}

# for_each_set FUNCTION: for every test set and, with --reference true, its reference
# phonemes: FUNCTION SET PHONEMES DECODE_DIR SCORE_DIR NAME AREA
for_each_set() {
    local set hyp found=false
    needs_text "$1" || return 0
    for set in "${tests[@]}"; do
        hyp=${exp}/decode_${opt[asr]}/${set}/hyp
        if [ -e "${hyp}" ]; then
            found=true
            "$1" "${set}" "${hyp}" "${exp}/decode_${system}/${set}" \
                "${exp}/score_${system}/${set}" "${system}_${set}" "${exp}"
        fi
        if [ "${opt[reference]}" = true ]; then
            "$1" "${set}" "${dump}/${set}/phn" \
                "${transcoder}/decode_reference/${set}" \
                "${transcoder}/score_reference/${set}" "reference_${set}" "${transcoder}"
        fi
    done
    [ "${found}${opt[reference]}" != falsefalse ] ||
        [ "${opt[dry_run]}" = true ] ||
        die "no ${exp}/decode_${opt[asr]}/{${tests[*]}}/hyp: decode that system first" \
            "(run.sh --tag ${exp##*/} --units phn, up to stage 10), or name another" \
            "with --exp and --asr"
}

run_decode() { for_each_set decode_words; }
run_score() { for_each_set score_words; }

decode_words() {
    input "$2" "${dump}/$1"/{wav.scp,utt2spk,utt2lang,utt2num_samples}
    input "${transcoder}"/train/{latest.pth,config.yaml}
    input_if "${transcoder}"/train/valid.*.best.pth
    output "$3"/{hyp,hyp.jsonl,rtf.json}
    on_cluster "${decode_cmd}" "${one_gpu}" "$3/log/decode.log"
    run_stage "10_decode_$5" "$6" python -m espnet2_dq.bin.transcoder_decode \
        --model_dir "${transcoder}/train" --hyp "$2" --data_dir "${dump}/$1" \
        --out "$3" --beam_size "${opt[beam]}" --ngpu "${one_gpu}" "${decode_args[@]}"
}

score_words() {
    input "$3/hyp" "${dump}/$1"/{char,utt2lang,utt2spk}
    output "$4"/{scores.json,summary.txt}
    run_stage "11_score_$5" "$6" python -m espnet2_dq.bin.score --hyp "$3/hyp" \
        --data_dir "${dump}/$1" --units char --out "$4"
}

# What to look at when all is done.
summary() {
    local file
    for file in "${exp}/score_${system}"/*/summary.txt \
        "${transcoder}"/score_reference/*/summary.txt; do
        if [ -e "${file}" ]; then echo "${file%/*}:" && cat "${file}"; fi
    done
}

main() {
    local name active=false
    declare_options
    case " $* " in *" --help "* | *" -h "*)
        print_help | sed "1s/run\.sh/transcoder.sh/"
        exit 0
        ;;
    esac
    parse_options "$@"
    if [ -n "${opt[python]}" ]; then export DQ_PYTHON=${opt[python]}; fi
    # shellcheck source=path.sh
    . ./path.sh
    # shellcheck source=cmd.sh
    . ./cmd.sh
    check_python
    check_options
    set_paths
    for name in "${stage_names[@]}"; do
        if [ "${name}" = "${opt["stage"]}" ]; then active=true; fi
        if [ "${active}" = true ]; then "run_${name}"; fi
        if [ "${name}" = "${opt["stop_stage"]}" ]; then break; fi
    done
    [ "${active}" = true ] || die "--stage ${opt["stage"]} comes after" \
        "--stop_stage ${opt["stop_stage"]}"
    if [ "${opt[dry_run]}" = false ]; then summary; fi
}

main "$@"
