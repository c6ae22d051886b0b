FROM busybox
ENV ONE=1 TWO="two words" THREE=three\ words
ENV LEGACY the rest of the line
ENV PATH=/opt/bin:$PATH
ENV NESTED=${ONE}${TWO}
RUN env | grep -E '^(ONE|TWO|THREE|LEGACY|NESTED)=' | sort > /env
