FROM busybox
RUN ["sh", "-c", "echo exec > /exec"]
RUN echo shell > /shell
ENTRYPOINT ["sh", "-c"]
CMD ["echo hello"]
