FROM busybox
RUN mkdir /h && echo same > /h/one && ln /h/one /h/two
RUN ln /h/two /h/three && chmod 600 /h/one
