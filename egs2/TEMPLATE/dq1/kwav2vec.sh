#!/usr/bin/env bash
# K-Wav2vec 2.0 from a Korean corpus to a report, in 13 stages. A recipe's run.sh calls
# this from its own directory (conf/, db.sh, path.sh, cmd.sh) with its defaults first.
set -euo pipefail

template=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=options.sh
. "${template}/options.sh"
# shellcheck source=stages.sh
. "${template}/stages.sh"
# shellcheck source=kwav2vec_stages.sh
. "${template}/kwav2vec_stages.sh"
# shellcheck source=recipe.sh
. "${template}/recipe.sh"

recipe_options() {
    heading "Corpus (stages 1-5)"
    option corpus mini "mini, kaldi, or one of the recipe (local/data.sh)"
    option data_root "" "corpus: kaldi's train, dev, test*; others: default in db.sh"
    option rule orthographic "transcripts: orthographic or phonetic"
    option mini_scale full "mini: full or smoke (seconds)"
    option mini_hours 2.5 "mini: hours of Korean training speech"
    option english_hours 1.5 "mini: hours of English speech for the source model"
    option remove_silence false "true: cut long silences out, of all sets alike (librosa, 30 dB)"
    option decode_share 0.02 "share of the sound files that stage 2 decodes; 1: all"
    option min_duration_s 0.4 "shortest utterance that is kept; 0 is off"
    option max_duration_s 30 "longest utterance that is kept; 0 is off"
    option keep_unlabelled false "true: utterances with an empty transcript still serve pretraining"
    option max_reject_ratio 0.01 "share of faulty utterances at which a stage stops"

    heading "Pretraining (stages 6-7)"
    option pretraining "" "further (needs init_from), scratch or none (default: mini further, else further if init_from is given, else scratch)"
    option init_from "" "source model: Hugging Face directory, fairseq .pt or ours (mini: its own English model)"
    option size "" "mini, base_1gpu or base (default: mini; other corpora: base_1gpu)"
    option train_config "" "default: conf/train_ssl_<size>.yaml"
    option pretrain_args "" "further options of espnet2_dq.bin.ssl_train"
    option source_args "" "mini: further options of the English model's ssl_train"

    heading "Fine-tuning (stages 8-9)"
    option heads "grapheme syllable" "heads of the model: both, or one of them"
    option init pretrained "pretrained or random"
    option finetune_minutes all "labelled minutes, or all"
    option finetune_list "" "labelled utterances by id, a file, instead of minutes"
    option asr_tag "" "finetune_<asr_tag> (default: multi or the head, and what is not default)"
    option finetune_config "" "default: conf/train_hier_<mini or 960h>.yaml"
    option finetune_args "" "further options of espnet2_dq.bin.hier_train"

    heading "Decoding and report (stages 10-13)"
    option modes "" "greedy_syllable greedy_grapheme merge rescore joint (default: all that the heads allow)"
    option beam 10 "beam size of the searches"
    option weight tuned "weight of the syllable head, 0 to 1; tuned: on dev, per mode"
    option decode_args "" "further options of espnet2_dq.bin.decode_korean"
    option test_sets "" "sets to decode (default: all of dump/test*)"
}

check_recipe_options() {
    local head
    require_one_of rule orthographic phonetic
    require_one_of remove_silence true false
    require_one_of heads "grapheme syllable" grapheme syllable
    if [ "${opt[finetune_minutes]}" != all ]; then require_number finetune_minutes; fi
    for head in ${opt[modes]}; do
        case ${head} in
        greedy_syllable | greedy_grapheme | merge | rescore | joint) ;;
        *) die "--modes: '${head}' is not one of: greedy_syllable greedy_grapheme merge rescore joint" ;;
        esac
    done
    case ${opt[corpus]} in
    mini) set_default size mini && set_default pretraining further ;;
    *) set_default size base_1gpu ;;
    esac
    if [ -n "${opt[init_from]}" ]; then set_default pretraining further; fi
    set_default pretraining scratch
    require_one_of pretraining further scratch none
    if [ "${opt[pretraining]}" = further ] && [ "${opt[corpus]}" != mini ] &&
        [ -z "${opt[init_from]}" ]; then
        die "--pretraining further needs --init_from: a wav2vec 2.0 checkpoint"
    fi
    set_default train_config "conf/train_ssl_${opt[size]}.yaml"
    case ${opt[size]} in
    mini) set_default finetune_config conf/train_hier_mini.yaml ;;
    *) set_default finetune_config conf/train_hier_960h.yaml ;;
    esac
    case ${opt[heads]} in
    "grapheme syllable")
        set_default modes "greedy_syllable greedy_grapheme merge rescore joint"
        ;;
    *) set_default modes "greedy_${opt[heads]}" ;;
    esac
}

main "$@"
