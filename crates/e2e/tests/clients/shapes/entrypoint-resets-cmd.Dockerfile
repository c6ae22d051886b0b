FROM busybox
CMD ["one"]
ENTRYPOINT echo entry
