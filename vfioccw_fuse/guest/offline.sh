#!/bin/busybox sh
# offline BUSID: set a DASD offline.
echo 0 >"/sys/bus/ccw/devices/$1/online"
