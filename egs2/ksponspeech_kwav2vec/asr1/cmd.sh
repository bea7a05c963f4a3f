# shellcheck shell=bash disable=SC2034 source=../../TEMPLATE/dq1/cmd.sh
# Words that start jobs, before the template's defaults. For example:
# cuda_cmd="run.pl --mem 16G"
. ../../TEMPLATE/dq1/cmd.sh
