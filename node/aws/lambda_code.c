#include "node/aws/lambda_code.h"

#include "node/aws/lambda_config.h"
#include "proto/base/encode.h"

static bool refuse(struct aws_input *input, const char *message)
{
    return aws_input_refuse(input, 400, "InvalidParameterValueException", "%s", message);
}

bool lambda_code_read(struct aws_input *input, const json_t *code, const char *operation,
                      struct buffer *zip)
{
    const char *base64 = aws_input_text(input, code, "ZipFile");
    enum error rc;

    if (aws_input_has_fault(input))
        return false;
    if (json_object_get(code, "ImageUri") != NULL)
        return refuse(input, "Container images are not supported by this cluster.");
    if (base64 == NULL && json_object_get(code, "S3Bucket") != NULL)
        return refuse(input, "Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 "
                             "Error Message: The specified bucket does not exist");
    if (base64 == NULL)
        return refuse(input, "Please provide a source for function code.");
    buffer_init(zip, LAMBDA_ZIP_BYTES_MAX);
    rc = decode_base64(slice_text(base64), zip);
    if (rc == ERR_TOO_LARGE)
        return aws_input_refuse(input, 413, "RequestEntityTooLargeException",
                                "Request must be smaller than %u bytes for the %s operation",
                                LAMBDA_ZIP_BYTES_MAX / 3 * 4, operation);
    if (rc != OK)
        return aws_input_refuse(input, 400, "SerializationException",
                                "ZipFile is not a valid base64 text");
    return zip->size > 0 || refuse(input, "Uploaded file must be a non-empty zip");
}
