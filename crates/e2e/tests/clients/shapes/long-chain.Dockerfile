FROM busybox
RUN echo 1 > /1
RUN echo 2 > /2
RUN echo 3 > /3
RUN echo 4 > /4
RUN echo 5 > /5
RUN cat /1 /2 /3 /4 /5 > /all && rm /1 /2 /3 /4 /5
