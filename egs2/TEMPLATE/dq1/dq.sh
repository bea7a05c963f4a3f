#!/usr/bin/env bash
# DQ-Data2vec from a corpus to a report, in 13 stages. A recipe's run.sh calls this
# from its own directory (conf/, db.sh, path.sh, cmd.sh) with its defaults first.
set -euo pipefail

template=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=options.sh
. "${template}/options.sh"
# shellcheck source=stages.sh
. "${template}/stages.sh"

stage_names=(data check filter units stats pretrain analyse subset finetune decode
    score report pack)

declare_options() {
    heading "What to run"
    option stage 1 "first stage: 1-13 or its name (${stage_names[*]})"
    option stop_stage 13 "last stage"
    option dry_run false "true: say what would run and why; touch nothing"
    option force "" "stages to run though they are done: names, or all"
    option tag dq "name of the experiment: exp/<tag>"
    option work_dir . "where data, dump, units and exp are made"
    option resume auto "trainings: auto (an interrupted run), must or never"
    option seed 0 "seed of every stage"
    option python "" "interpreter (default: the active environment's, or .venv)"

    heading "Machine"
    option nj 1 "parallel jobs of stage 10"
    option ngpu auto "GPUs of one training or decoding job; auto: 1 if there is one"

    heading "Corpus (stages 1-5)"
    option corpus mini "mini, kaldi, or one of the recipe (local/data.sh)"
    option langs "" "languages, as in \"en es fr\" (default: the paper's nine; kaldi: all)"
    option data_root "" "corpus: kaldi's train, dev, test*; commonvoice: default in db.sh"
    option train_sources train "commonvoice: tables that feed train"
    option cpc_lists "" "commonvoice: folder of the CPC 1-hour splits (default: official)"
    option mini_scale full "mini: full (3 hours) or smoke (seconds)"
    option mini_hours 3 "mini: hours of training speech"
    option recorded auto "mini: recorded human prompts: auto, yes or no"
    option decode_share 0.02 "share of the sound files that stage 2 decodes; 1: all"
    option min_duration_s 0.4 "shortest utterance that is kept; 0 is off"
    option max_duration_s 30 "longest utterance that is kept; 0 is off"
    option keep_unlabelled false "true: utterances with an empty transcript still serve pretraining"
    option allow_overlap false "commonvoice: keep speakers and prompts that two splits share"
    option max_reject_ratio 0.01 "share of faulty utterances at which a stage stops"

    heading "Pretraining (stages 6-7)"
    option size "" "mini, mini_conv, base_1gpu, base (default: mini; commonvoice: base_1gpu)"
    option train_config "" "default: conf/train_ssl_<size>.yaml"
    option pretrain_args "" "further options of espnet2_dq.bin.ssl_train"
    option probe true "frame-phone probe during pretraining, where the corpus has alignments"

    heading "Fine-tuning (stages 8-9)"
    option units phn "phn (PER) or char (WER)"
    option init pretrained "pretrained or random"
    option finetune_minutes "" "labelled minutes per language (default: mini 5, else 60)"
    option finetune_list "" "labelled utterances by id, a file, instead of minutes (default with cpc_lists: theirs)"
    option finetune_langs "" "languages to fine-tune jointly (default: all)"
    option asr_tag "" "finetune_<asr_tag> (default: units, and what is not default)"
    option finetune_config "" "default: conf/train_ctc_<size up to _>.yaml"
    option finetune_args "" "further options of espnet2_dq.bin.ctc_train"

    heading "Decoding and report (stages 10-13)"
    option beam 1 "beam size; 1 is greedy"
    option decode_args "" "further options of espnet2_dq.bin.decode"
    option test_sets "" "sets to decode (default: all of dump/test*)"
}

# Values that depend on others, and values that cannot be.
check_options() {
    require_one_of dry_run true false
    require_one_of resume auto must never
    declare -F "corpus_${opt[corpus]}" >/dev/null ||
        die "--corpus '${opt[corpus]}' is not one of: $(known_corpora)"
    require_one_of units phn char
    require_one_of init pretrained random
    require_one_of probe true false
    require_one_of keep_unlabelled true false
    require_one_of allow_overlap true false
    require_number seed nj beam
    default_minutes=60
    case ${opt[corpus]} in
    mini) default_minutes=5 ;;
    commonvoice) set_default size base_1gpu ;;
    esac
    set_default size mini
    if [ -n "${opt[cpc_lists]}" ] && [ -z "${opt[finetune_minutes]}" ]; then
        set_default finetune_list "${opt[work_dir]%/}/data/finetune_ids.txt"
    fi
    set_default finetune_minutes "${default_minutes}"
    set_default train_config "conf/train_ssl_${opt[size]}.yaml"
    set_default finetune_config "conf/train_ctc_${opt[size]%%_*}.yaml"
    if [ "${opt[ngpu]}" = auto ]; then
        opt[ngpu]=0
        if nvidia-smi -L >/dev/null 2>&1; then opt[ngpu]=1; fi
    fi
    require_number ngpu
    opt["stage"]=$(stage_number "${opt[stage]}")
    opt["stop_stage"]=$(stage_number "${opt[stop_stage]}")
}

# Names of the corpus_NAME functions.
known_corpora() {
    local line
    declare -F | while read -r line; do
        case ${line} in *" corpus_"*) printf '%s ' "${line##* corpus_}" ;; esac
    done
}

# A corpus that is not there is an error before anything is written.
check_corpus() {
    local command=()
    "corpus_${opt[corpus]}"
    io=()
}

set_default() { [ -n "${opt[$1]}" ] || opt[$1]=$2; }

# stage_number WORD: 1-13 for a number or a name
stage_number() {
    local index
    for index in "${!stage_names[@]}"; do
        if [ "$1" = "$((index + 1))" ] || [ "$1" = "${stage_names[index]}" ]; then
            echo "$((index + 1))" && return
        fi
    done
    die "stage '$1' is neither 1-13 nor one of: ${stage_names[*]}"
}

# The interpreter must have what the package depends on; say how to get it.
check_python() {
    "${DQ_PYTHON}" -c 'import espnet2_dq, importlib.util as u
assert all(map(u.find_spec, ("espnet2", "torch", "soundfile")))' 2>/dev/null ||
        die "${DQ_PYTHON:-python3} has no espnet2_dq with what it needs: 'make env'" \
            "in the repository, or pip install, or name another with --python"
}

# What to look at when all is done.
summary() {
    local file
    if [ "${opt[dry_run]}" = true ]; then
        echo "A stage that is done now runs again if an earlier one changes its input."
        return
    fi
    for file in "${score}"/*/summary.txt "${exp}/report/index.html"; do
        if [ ! -e "${file}" ]; then continue; fi
        case ${file} in
        *.txt) echo "${file%/*}:" && cat "${file}" ;;
        *) echo "report: $(cd "${file%/*}" && pwd)/${file##*/}" ;;
        esac
    done
}

main() {
    local number file
    declare_options
    parse_options "$@"
    if [ -n "${opt[python]}" ]; then export DQ_PYTHON=${opt[python]}; fi
    # shellcheck source=path.sh
    . ./path.sh
    # shellcheck source=cmd.sh
    . ./cmd.sh
    # shellcheck source=/dev/null
    for file in db.sh local/data.sh; do if [ -f "${file}" ]; then . "./${file}"; fi; done
    check_python
    check_options
    set_paths
    if [ "${opt["stage"]}" -eq 1 ]; then check_corpus; fi
    if [ "${opt[dry_run]}" = false ]; then write_command "$@"; fi
    for ((number = opt[stage]; number <= opt[stop_stage]; number++)); do
        "stage_${stage_names[number - 1]}"
    done
    summary
}

main "$@"
