# shellcheck shell=bash disable=SC2034
# How jobs are started. Each word list is put before 'LOG command...', as in Kaldi:
#   $cuda_cmd --gpu 1 exp/x/train.log python -m ...
#   $decode_cmd JOB=1:4 exp/x/decode.JOB.log python -m ... JOB
# cmd_backend=local: on this machine. A site's own words go before it:
#   train_cmd="queue.pl -q long.q" ./run.sh ...

cmd_backend=${cmd_backend:-local}
case ${cmd_backend} in
local)
    train_cmd=${train_cmd:-run.pl}
    cuda_cmd=${cuda_cmd:-run.pl}
    decode_cmd=${decode_cmd:-run.pl}
    ;;
*)
    echo "cmd.sh: cmd_backend '${cmd_backend}' is not known; known: local" >&2
    return 2
    ;;
esac
