#!/bin/sh
# Prints which script ran, and the request's headers that it received.
printf 'content-type: text/plain\r\nx-ran: %s\r\n\r\n' "${SCRIPT_NAME#/}"
env | grep '^HTTP_'
