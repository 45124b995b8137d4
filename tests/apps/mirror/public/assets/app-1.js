console.log("mirror");
