FROM busybox AS tools
RUN mkdir /t && printf '#!/bin/sh\necho made\n' > /t/tool && chmod 755 /t/tool
FROM busybox
RUN --mount=type=bind,from=tools,source=/t,target=/t /t/tool > /out
