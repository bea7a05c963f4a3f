# shellcheck shell=bash source=../../TEMPLATE/dq1/path.sh
. ../../TEMPLATE/dq1/path.sh
