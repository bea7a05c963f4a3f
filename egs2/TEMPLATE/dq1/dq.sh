#!/usr/bin/env bash
# DQ-Data2vec from a corpus to a report, in 13 stages. A recipe's run.sh calls this
# from its own directory (conf/, db.sh, path.sh, cmd.sh) with its defaults first.
set -euo pipefail

template=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=options.sh
. "${template}/options.sh"
# shellcheck source=stages.sh
. "${template}/stages.sh"
# shellcheck source=pretraining.sh
. "${template}/pretraining.sh"
# shellcheck source=recipe.sh
. "${template}/recipe.sh"

recipe_options() {
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
    option row "" "row of the paper's tables, laid over train_config (bin.rows lists them)"
    option supervised_langs "" "languages whose phonemes pretraining may use (with first_stage: in that)"
    option pretrain_langs "" "pretrain on these languages only: \"en fr\", or \"not en\""
    option init_from "" "pretrain this model further: exp/<tag>/pretrain, Hugging Face directory, checkpoint"
    option first_stage "" "conf/rows/<it>.yaml: a pretraining that the row's starts from"
    option first_langs "" "languages of the first stage"
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

check_recipe_options() {
    read_row
    require_one_of units phn char
    require_one_of probe true false
    require_one_of allow_overlap true false
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
}

main "$@"
