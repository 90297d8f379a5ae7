#!/bin/sh
# Stands in for adb: the "device" is this machine. As adb before Android 7 it does not pass on the status of what it
# runs. Where the file $ADB_FAULT exists the device is not there, for the reason in it.
if [ "$1" = -s ]; then shift 2; fi
if [ -e "$ADB_FAULT" ]; then
  cat "$ADB_FAULT" >&2
  exit 1
fi
case $1 in
shell) shift; sh -c "$*"; exit 0 ;;
push) cp "$2" "$3" && echo "1 file pushed" ;;
pull)
  [ -e "$2" ] || { echo "adb: error: failed to stat remote object '$2': No such file or directory" >&2; exit 1; }
  cp "$2" "$3" && echo "1 file pulled" ;;
*) exit 2 ;;
esac
