#!/bin/sh
# Says which script ran, and what it was told of the request's headers.
printf 'content-type: text/plain\r\nx-ran: %s\r\n\r\n' "${SCRIPT_NAME#/}"
env | grep '^HTTP_'
